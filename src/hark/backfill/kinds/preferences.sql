-- name: standing
-- The users of a span, those who are alike together: their type, and what they hold for the reasons that are asked for.
-- What cannot be a choice (no array of up to three texts) is all one: null.
select s.place, r.user_type, p.recipient_id is not null as has_row, mine.held, array_agg(s.recipient_id order by s.recipient_id) as members
  from spanned s
  left join hark.recipient r on r.id = s.recipient_id
  left join hark.preference p on p.recipient_id = s.recipient_id
 cross join lateral (
    select coalesce(jsonb_object_agg(asked.reason,
                                     case when jsonb_typeof(choice.value) = 'array'
                                           and jsonb_array_length(choice.value) <= 3
                                           and not jsonb_path_exists(choice.value, 'strict $[*] ? (@.type() <> "string")')
                                          then choice.value else 'null' end), '{}') as held
      from unnest(%(reasons)s::text[]) as asked(reason)
     cross join lateral (select p.channels -> asked.reason as value) choice
     where choice.value is not null
 ) mine
 group by s.place, r.user_type, has_row, mine.held
 order by s.place, min(s.recipient_id)

-- name: journaled
-- The users of a span that a backfill changed, those who are alike together: what it changed, and the reasons for which
-- that stands as it was left, and was neither chosen nor changed by another backfill since: what somebody confirmed is theirs,
-- and what another one gave anew is that one's. Of the others, those that another backfill changed since, where they stood
-- until then as it had left them, and were not chosen. They had no row before it; or the one that another backfill made, and
-- nothing took away until then, and what that put there was taken back since, and nothing else is in it, nor was anything
-- chosen: so it goes with the last of what backfills put there.
select s.place, r.user_type, p.recipient_id is not null as has_row, i.before, i.after,
       coalesce(p.channels = i.after and p.frequencies = '{}', false) as nothing_else,
       case when i.before = '{}' and p.channels = i.after and p.frequencies = '{}' and p.chose = '{}'
            then exists (select from hark.backfill_item made
                          cross join lateral (
                            select unmade.at, unmade.backfill_id, unmade.after
                              from hark.backfill_item unmade
                             where unmade.recipient_id = made.recipient_id and unmade.outcome = 'applied'
                               and coalesce(unmade.before, '{}') || coalesce(unmade.after, '{}') ?| array(select jsonb_object_keys(made.after))
                             order by unmade.at desc, unmade.backfill_id desc
                             limit 1) unmade
                           join hark.backfill f on f.id = unmade.backfill_id and f.undoes is not null
                          where made.recipient_id = s.recipient_id and made.outcome = 'applied'
                            and made.before is null and made.after is not null and (made.at, made.backfill_id) < (i.at, i.backfill_id)
                            and (unmade.at, unmade.backfill_id) > (i.at, i.backfill_id)
                            and not coalesce(unmade.after, '{}') ?| array(select jsonb_object_keys(made.after))
                            and not exists (select from hark.backfill_item gone
                                             where gone.recipient_id = s.recipient_id and gone.outcome = 'applied'
                                               and gone.before is not null and gone.after is null
                                               and (gone.at, gone.backfill_id) > (made.at, made.backfill_id)
                                               and (gone.at, gone.backfill_id) < (i.at, i.backfill_id)))
            else i.before is null end as had_no_row,
       left_alone.reasons as standing,
       others.reasons as others,
       array_agg(s.recipient_id order by s.recipient_id) as members
  from spanned s
  join hark.backfill_item i on i.recipient_id = s.recipient_id and i.backfill_id = %(undoes)s and i.outcome = 'applied'
  left join hark.recipient r on r.id = s.recipient_id
  left join hark.preference p on p.recipient_id = s.recipient_id
 cross join lateral (
    select array_agg(reason order by reason) as reasons
      from (select jsonb_object_keys(i.before) union select jsonb_object_keys(i.after)) touched(reason)
     where hark.left_last_by(i, reason, p.channels, p.chose)
 ) left_alone
 cross join lateral (
    select array_agg(reason order by reason) as reasons
      from (select jsonb_object_keys(i.before) union select jsonb_object_keys(i.after)) touched(reason)
     where reason <> all (coalesce(left_alone.reasons, '{}'))
       and hark.chosen_since(p.chose, i.chose, jsonb_build_object(reason, null)) is not true
       and hark.taken_by(s.recipient_id, reason, i.after -> reason, false, i.at, i.backfill_id) is not null
 ) others
 group by s.place, r.user_type, has_row, i.before, i.after, nothing_else, had_no_row, left_alone.reasons, others.reasons
 order by s.place, min(s.recipient_id)

-- name: apply
-- One statement: under the row's lock, who still holds what the plan saw gets what it said; all of it is journaled.
-- Who is told of a feed from now on came back to it now; since when they were told before is journaled, and comes back when
-- it is undone, if nobody said otherwise meanwhile. A row that still says since when is emptied, not removed. Only for
-- reasons with feeds are rows looked up for that, and `returned` asked, which takes longer than all else. Of an undo, who comes back is whom what it takes back had taken the feed from,
-- reachable or not; and what was chosen since, or given anew by another backfill, is left alone, though it be the same.
-- Why somebody drifted is said afterwards, by `explain`, but for the type.
-- A change that commits meanwhile makes Postgres look at the row again, and the guard with it: it is never overwritten.
with part as materialized (
    select number, members, change ->> 'user_type' as user_type,
           nullif(change -> 'before', 'null') as before, nullif(change -> 'after', 'null') as after
      from hark.backfill_part
     where backfill_id = %(backfill)s and batch = %(batch)s and change is not null
),
terms as materialized (
    select part.*,
           array(select key from jsonb_object_keys(after) key where not coalesce(before, '{}') ? key) as absent,
           array(select key from jsonb_object_keys(before) key where not coalesce(after, '{}') ? key) as dropped,
           exists (select from hark.feed f where coalesce(before, '{}') || coalesce(after, '{}') ? f.reason) as of_feeds
      from part
),
undoing as materialized (
    select undoes from hark.backfill where id = %(backfill)s
),
member as materialized (
    select m.id, t.before, t.after, t.absent, t.dropped, t.user_type, r.user_type as type_now,
           r.reach, t.of_feeds, t.user_type is null or t.user_type is not distinct from r.user_type as same_type,
           case when t.of_feeds then coalesce(had.since, '{}') end as since, undone.since as since_was, undone.at as undone_at,
           u.undoes is not null as undoing, undone.chose as chose_was,
           u.undoes is null or hark.undisturbed(m.id, coalesce(t.before, '{}') || coalesce(t.after, '{}'), undone.at, u.undoes) as is_own
      from terms t
     cross join undoing u
     cross join lateral unnest(t.members) as m(id)
      left join hark.recipient r on r.id = m.id
      left join lateral (
        select (select jsonb_object_agg(key, value) from jsonb_each(p.since) where coalesce(t.after, '{}') ? key) as since
          from hark.preference p where p.recipient_id = m.id and t.of_feeds offset 0
      ) had on true
      left join lateral (
        select i.since, i.at, i.chose
          from hark.backfill_item i
         where u.undoes is not null and i.recipient_id = m.id and i.backfill_id = u.undoes offset 0
      ) undone on true
     where %(only)s::text[] is null or m.id = any (%(only)s::text[])
     order by m.id
),
changed as (
    update hark.preference p
       set channels = (p.channels - m.dropped) || m.after, updated_at = %(now)s,
           since = case when m.since_was is null then p.since else hark.since_taken_back(p.since, m.since_was, m.before, m.undone_at) end
                   || case when m.of_feeds
                           then hark.returned(m.type_now, case when m.undoing then 'ok' else m.reach end, p.channels, m.after, p.frequencies, %(now)s)
                           else '{}' end
      from member m
     where p.recipient_id = m.id and m.same_type and m.is_own and m.before is not null and m.after is not null
       and p.channels || m.before = p.channels and not p.channels ?| m.absent
       and not (m.undoing and hark.chosen_since(p.chose, m.chose_was, m.before))
    returning p.recipient_id, p.chose
),
created as (
    insert into hark.preference (recipient_id, channels, updated_at, since)
    select id, after, %(now)s, case when of_feeds then hark.returned(type_now, reach, '{}', after, '{}', %(now)s) else '{}' end
      from member where before is null and same_type and is_own
        on conflict (recipient_id) do nothing
    returning recipient_id, chose
),
removed as (
    delete from hark.preference p
     using member m
     where p.recipient_id = m.id and m.is_own and m.after is null and p.channels = m.before and p.frequencies = '{}'
       and (p.since = '{}' or hark.since_taken_back(p.since, m.since_was, m.before, m.undone_at) = '{}')
       and not hark.chosen_since(p.chose, m.chose_was, m.before)
    returning p.recipient_id, p.chose
),
emptied as (
    update hark.preference p
       set channels = '{}', updated_at = %(now)s, since = hark.since_taken_back(p.since, m.since_was, m.before, m.undone_at)
      from member m
     where p.recipient_id = m.id and m.is_own and m.after is null and p.channels = m.before and p.frequencies = '{}'
       and p.since <> '{}' and hark.since_taken_back(p.since, m.since_was, m.before, m.undone_at) <> '{}'
       and not hark.chosen_since(p.chose, m.chose_was, m.before)
    returning p.recipient_id, p.chose
),
done as (
    select * from changed union all select * from created union all select * from removed union all select * from emptied
),
journal as (
    insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, before, after, why, at, since, chose)
    select id, %(backfill)s, %(batch)s, case when done then 'applied' else 'drifted' end::hark.backfill_outcome, before, after,
           case when not same_type then 'is of type ' || coalesce(type_now, 'none (unknown)') || ' now, was of ' || user_type end,
           %(now)s, case when done then since end,
           case when chose <> '{}' then (select jsonb_object_agg(key, value) from jsonb_each(chose)
                                          where coalesce(before, '{}') ? key or coalesce(after, '{}') ? key) end
      from (select m.*, d.chose, d.recipient_id is not null as done from member m left join done d on d.recipient_id = m.id) judged
    returning recipient_id, outcome, why
)
select count(*) filter (where outcome = 'applied')::int as applied, count(*) filter (where outcome = 'drifted')::int as drifted,
       coalesce(array_agg(recipient_id) filter (where outcome = 'drifted' and why is null), '{}') as unexplained
  from journal

-- name: explain
-- Why those drifted whose row was not as the plan saw it: it is as other backfills left it since they were looked at, by their
-- journals, or was chosen. In a statement of its own, which sees what those committed that were waited for.
with judged as materialized (
    select j.recipient_id as id, j.before, j.after, p.recipient_id is not null as has_row, p.channels, p.chose,
           coalesce(d.planned_at, b.created_at) as planned_at,
           b.undoes is not null
           and not hark.undisturbed(j.recipient_id, coalesce(j.before, '{}') || coalesce(j.after, '{}'), undone.at, b.undoes) as is_others,
           (select 'backfill ' || f.id
              from hark.backfill f
             where f.kind = b.kind and f.forgotten_at is not null and f.ended_at > coalesce(d.planned_at, b.created_at)
               and exists (select from hark.backfill_batch e where e.backfill_id = f.id and e.applied > 0)
               and f.request -> 'reasons' ?| array(select jsonb_array_elements_text(b.request -> 'reasons'))
               and not exists (select from jsonb_each_text(p.chose) c(reason, at)
                                where coalesce(j.before, '{}') || coalesce(j.after, '{}') ? c.reason
                                  and c.at::timestamptz > coalesce(d.planned_at, b.created_at))
             order by f.id
             limit 1) as forgotten
      from hark.backfill_item j
      join hark.backfill b on b.id = j.backfill_id
      join hark.backfill_batch d on d.backfill_id = j.backfill_id and d.number = j.batch
      left join hark.preference p on p.recipient_id = j.recipient_id
      left join hark.backfill_item undone on undone.recipient_id = j.recipient_id and undone.backfill_id = b.undoes
     where j.recipient_id = any (%(users)s::text[]) and j.backfill_id = %(backfill)s
)
update hark.backfill_item j
   set why = case when coalesce(
                       (select bool_and((m.chose ->> reason)::timestamptz > m.planned_at is not true
                                        and hark.taken_by(m.id, reason, m.before -> reason, false, m.planned_at, %(backfill)s) is not null
                                        and m.channels -> reason is not distinct from
                                            (select d.got
                                               from hark.done_since(m.id, reason, m.planned_at, %(backfill)s) with ordinality d (which, had, got, place)
                                              order by d.place desc
                                              limit 1))
                          from jsonb_object_keys(coalesce(m.before, m.channels, '{}') || coalesce(m.after, '{}')) as reason
                         where m.channels -> reason is distinct from m.before -> reason), m.is_others)
                  then 'another backfill changed it since'
                  when m.forgotten is not null then 'is not as it was, and what ' || m.forgotten || ' changed since is forgotten'
                  when m.before is null then 'has preferences of their own now'
                  when not m.has_row then 'has no preferences any more'
                  else 'chose otherwise since the plan' end
  from judged m
 where j.recipient_id = m.id and j.backfill_id = %(backfill)s

-- name: verify
-- Each user of a batch to whom something was promised: does it hold, and if not, what says why? The journal; or, for each
-- channel or reason for which it does not, that they chose it since, or that it was there when another backfill came, and that took
-- it. That something else in their row was written says nothing. Whether they chose since is told by what the batch saw under
-- the row's lock; only of those whom it had nothing to do for, by the time. What is forgotten explains nothing, and is named.
with member as materialized (
    select m.id, part.change is not null as to_change, part.promise,
           nullif(part.promise -> 'exactly', 'null') as exactly, part.promise -> 'at_least' as at_least,
           array(select jsonb_array_elements_text(part.promise -> 'without')) as without
      from hark.backfill_part part
     cross join lateral unnest(part.members) as m(id)
     where part.backfill_id = %(backfill)s and part.batch = %(batch)s and part.promise is not null
),
looked as (
    select m.*, i.outcome, i.why, coalesce(i.at, b.planned_at) as at, i.chose as seen, p.updated_at, p.recipient_id is not null as has_row,
           p.channels, p.chose,
           case when m.promise ? 'at_least' then coalesce(p.channels @> m.at_least, false)
                when m.exactly is null then p.recipient_id is null or p.channels = '{}'
                else coalesce(p.channels || m.exactly = p.channels and not p.channels ?| m.without, false) end as holds
      from member m
     cross join (select coalesce(d.planned_at, f.created_at) as planned_at
                   from hark.backfill f
                   join hark.backfill_batch d on d.backfill_id = f.id
                  where f.id = %(backfill)s and d.number = %(batch)s) b
      left join hark.preference p on p.recipient_id = m.id
      left join hark.backfill_item i on i.recipient_id = m.id and i.backfill_id = %(backfill)s
),
judged as (
    select looked.*, said.chosen, said.changed
      from looked
      left join lateral (
        select bool_and(chosen) as chosen, bool_and(chosen or changed) as changed
          from (select case when looked.outcome = 'applied'
                            then coalesce(hark.chosen_since(looked.chose, looked.seen, jsonb_build_object(broken.reason, null)), false)
                            else coalesce((looked.chose ->> broken.reason)::timestamptz > looked.at, false) end as chosen,
                       hark.taken_by(looked.id, broken.reason, broken.wanted, broken.at_least, looked.at, %(backfill)s) is not null as changed
                  from (select promised.key as reason, jsonb_build_array(channel) as wanted, true as at_least
                          from jsonb_each(looked.at_least) promised
                         cross join lateral jsonb_array_elements(promised.value) channel
                         where not coalesce(looked.channels -> promised.key @> jsonb_build_array(channel), false)
                        union all
                        select key, value, false
                          from jsonb_each(looked.exactly) promised
                         where looked.channels -> key is distinct from value
                        union all
                        select reason, null, false
                          from unnest(case when looked.at_least is not null then '{}'
                                           when looked.exactly is null then array(select jsonb_object_keys(looked.channels))
                                           else looked.without end) as reason
                         where looked.channels ? reason) broken) by_reason
      ) said on not looked.holds
),
forgotten as materialized (
    select f.id, f.undoes, f.request -> 'reasons' as reasons, f.ended_at
      from hark.backfill f
     where f.kind = 'preferences' and f.forgotten_at is not null
       and exists (select from hark.backfill_batch d where d.backfill_id = f.id and d.applied > 0)
),
said as (
    select judged.*,
           case when outcome = 'drifted' then 'drifted: ' || why
                when outcome = 'quarantined' then 'quarantined: ' || why
                when to_change and outcome is null then 'was not applied'
                when chosen then 'chose otherwise since'
                when changed then 'another backfill changed it since'
                when maybe is not null then 'does not hold, and what ' || maybe || ' changed is forgotten'
                when not has_row then 'has no preferences any more, and nothing says why'
                when updated_at > at then 'does not hold; the row was written since, but nothing says that they chose this'
                else 'does not hold, and nothing has changed it since' end as reason,
           coalesce(outcome = 'drifted' or (outcome = 'applied' or not to_change) and changed, false) as explained
      from judged
      left join lateral (
        select case when count(*) = 1 then 'backfill ' else 'backfills ' end || string_agg(f.id::text, ' and ' order by f.id) as maybe
          from forgotten f
         where f.ended_at >= judged.at and (f.undoes is not null or judged.at_least is null)
           and (judged.at_least is null and judged.exactly is null
                or f.reasons ?| array(select jsonb_object_keys(coalesce(judged.at_least, judged.exactly)) union all select unnest(judged.without)))
        having count(*) > 0
      ) unknown on not judged.holds
)
select count(*)::int as compared, (count(*) filter (where holds))::int as holding,
       coalesce(array_agg(id order by id) filter (where not holds), '{}') as recipients,
       coalesce(array_agg(explained order by id) filter (where not holds), '{}') as explained,
       coalesce(array_agg(reason order by id) filter (where not holds), '{}') as whys
  from said

-- name: did
select number from hark.backfill_batch where backfill_id = %(backfill)s and applied > 0 limit 1
