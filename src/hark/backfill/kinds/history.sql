-- part: sized
-- Who is known to have bought most is in the first batch: they take longest, and shall not be what is waited for in the end.
sized as materialized (
    select s.recipient_id, ((row_number() over (order by known.facts desc, s.recipient_id) - 1) / %(size)s)::int as place
      from spanned s
     cross join lateral (select count(*) as facts
                           from (select from hark.fact f where f.user_id = s.recipient_id limit 10000) counted) known
)

-- name: standing
-- The users of a span: who was loaded lately, as far back, need not be; if by a flag, only if that has let them in ever since. A load
-- by a flag stands for one that names none: that says they are let in already. One that names none stands for none by a flag.
select s.place, not %(force)s::boolean and coalesce(lately.loaded, false) as lately, array_agg(s.recipient_id order by s.recipient_id) as members
  from sized s
  left join lateral (
    select true as loaded
      from hark.history_user u
      join hark.history_step one on one.user_id = u.user_id and one.kind = 'receipt' and one.state = 'DONE'
      join hark.history_step two on two.user_id = u.user_id and two.kind = 'order' and two.state = 'DONE' and two.backfill_id = one.backfill_id
      join hark.backfill b on b.id = one.backfill_id
     cross join lateral (select b.request ->> 'flag' as flag) by
     where u.user_id = s.recipient_id and u.last_loaded_at > %(fresh_after)s::timestamptz
       and least(one.loaded_at, two.loaded_at) >= u.last_loaded_at
       and (b.request ->> 'since')::timestamptz <= %(since)s::timestamptz
       and (%(flag)s::text is null or by.flag = %(flag)s)
       and (by.flag is null
            or exists (select from hark.flag f
                        where f.name = by.flag and f.is_on and f.on_since <= u.last_loaded_at
                          and (exists (select from hark.enrolled e
                                        where e.user_id = u.user_id and e.flag = f.name and e.is_in and e.since <= u.last_loaded_at)
                               or exists (select from hark.segment_member m
                                            join hark.flag_segment fs on fs.segment = m.segment
                                           where m.recipient_id = u.user_id and fs.flag = f.name and fs.since <= u.last_loaded_at
                                             and coalesce(m.since <= u.last_loaded_at, true))
                               or exists (select from hark.flag_segment fs
                                            join hark.segment r on r.name = fs.segment and r.kind = 'rollout'
                                           where fs.flag = f.name and fs.since <= u.last_loaded_at and r.changed_at <= u.last_loaded_at
                                             and hark.rolled(r.salt, u.user_id) * 100000 < r.share * 4294967296))))
     limit 1
  ) lately on true
 group by s.place, lately
 order by s.place, lately

-- name: undoing
-- The users of a span for whom a run did anything.
select s.place, array_agg(s.recipient_id order by s.recipient_id) as members
  from spanned s
 where exists (select from hark.history_step d
                where d.user_id = s.recipient_id and d.backfill_id = %(undoes)s and d.state = 'DONE')
 group by s.place
 order by s.place

-- name: members
-- Those of a batch whom it is to change; `only`: just these.
select m.id as user_id
  from hark.backfill_part p
 cross join lateral unnest(p.members) as m(id)
 where p.backfill_id = %(backfill)s and p.batch = %(batch)s and p.change is not null
   and (%(only)s::text[] is null or m.id = any (%(only)s::text[]))
 order by m.id

-- name: page
-- Those of a run whom it is to change, behind one of them.
select m.id as user_id
  from hark.backfill_part p
 cross join lateral unnest(p.members) as m(id)
 where p.backfill_id = %(backfill)s and p.change is not null and m.id > %(after)s
 order by m.id
 limit %(limit)s

-- name: loaded
-- Both steps done: loaded, as is marked with the later of them (loading/steps.sql). Else it is said why not.
with member as materialized (
    select m.id
      from hark.backfill_part p
     cross join lateral unnest(p.members) as m(id)
     where p.backfill_id = %(backfill)s and p.batch = %(batch)s and p.change is not null
       and (%(only)s::text[] is null or m.id = any (%(only)s::text[]))
     order by m.id
),
judged as materialized (
    select m.id, count(*) filter (where s.state = 'DONE') = 2 as done,
           coalesce(string_agg(s.key || ': ' || s.why, '; ' order by s.key) filter (where s.state = 'QUARANTINED'), 'was not asked for') as why
      from member m
      left join hark.history_step s on s.user_id = m.id and s.backfill_id = %(backfill)s
     group by m.id
),
journal as (
    insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, why, at)
    select id, %(backfill)s, %(batch)s, case when done then 'applied' else 'quarantined' end::hark.backfill_outcome,
           case when done then null else why end, %(now)s
      from judged
        on conflict (recipient_id, backfill_id) do update set outcome = excluded.outcome, why = excluded.why, at = excluded.at
    returning outcome
)
select count(*) filter (where outcome = 'applied')::int as applied, 0 as drifted,
       count(*) filter (where outcome = 'quarantined')::int as quarantined
  from journal

-- name: undoes
select undoes from hark.backfill where id = %(backfill)s

-- name: taken_back
-- Who was taken back is not loaded any more, unless by another run since. Kept of each: as of which version of them the graph
-- must be before they may be let out, whatever the stream brings meanwhile.
with member as materialized (
    select id from unnest(%(users)s::text[]) as given(id) order by id
),
unmarked as (
    update hark.history_user u
       set last_loaded_at = null, loaded_epoch = null
      from member m
     where u.user_id = m.id
       and u.last_loaded_at = (select min(s.loaded_at) from hark.history_step s where s.user_id = m.id and s.backfill_id = %(undoes)s)
),
journal as (
    insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, after, at)
    select m.id, %(backfill)s, %(batch)s, 'applied', jsonb_build_object('version', u.version), %(now)s
      from member m
      left join hark.history_user u on u.user_id = m.id
    returning 1
)
select count(*)::int as applied, 0 as drifted from journal

-- name: verify
-- Each user who was to be loaded: does all still stand that the run brought, and as it was, unless they were moved on since?
with member as materialized (
    select m.id
      from hark.backfill_part p
     cross join lateral unnest(p.members) as m(id)
     where p.backfill_id = %(backfill)s and p.batch = %(batch)s and p.promise is not null
),
undone as materialized (
    select id from hark.backfill where undoes = %(backfill)s
),
looked as (
    select m.id, count(*) filter (where s.state = 'DONE') = 2 as done,
           bool_and(said.keys = s.keys) filter (where s.state = 'DONE') as all_there,
           bool_and(said.hash = s.hash or u.version <> s.version) filter (where s.state = 'DONE') as as_it_was,
           string_agg(s.key || ': ' || s.why, '; ' order by s.key) filter (where s.state = 'QUARANTINED') as why,
           (select i.backfill_id
              from hark.backfill_item i
             where i.recipient_id = m.id and i.outcome = 'applied' and i.backfill_id in (select id from undone)
             order by i.at, i.backfill_id
             limit 1) as taken_by
      from member m
      left join hark.history_step s on s.user_id = m.id and s.backfill_id = %(backfill)s
      left join hark.history_user u on u.user_id = m.id
      left join lateral hark.facts_of_run(m.id, s.kind, %(backfill)s) said on s.state = 'DONE'
     group by m.id
),
said as (
    select looked.*, done and all_there and as_it_was as holds,
           case when taken_by is not null then 'was taken back by backfill ' || taken_by
                when why is not null then 'quarantined: ' || why
                when not done then 'was not loaded'
                when not all_there then 'facts that it brought are gone, and nothing says why'
                else 'facts are not as it brought them, though nothing moved their user on' end as reason
      from looked
)
select count(*)::int as compared, (count(*) filter (where holds))::int as holding,
       coalesce(array_agg(id order by id) filter (where holds is not true), '{}') as recipients,
       coalesce(array_agg(taken_by is not null or why is not null order by id) filter (where holds is not true), '{}') as explained,
       coalesce(array_agg(reason order by id) filter (where holds is not true), '{}') as whys
  from said

-- name: verify_undone
with member as materialized (
    select m.id
      from hark.backfill_part p
     cross join lateral unnest(p.members) as m(id)
     where p.backfill_id = %(backfill)s and p.batch = %(batch)s and p.promise is not null
),
said as (
    select m.id, i.recipient_id is not null
                 and not exists (select from hark.fact f where f.user_id = m.id and f.runs @> array[%(undoes)s::bigint]) as holds
      from member m
      left join hark.backfill_item i on i.recipient_id = m.id and i.backfill_id = %(backfill)s and i.outcome = 'applied'
)
select count(*)::int as compared, (count(*) filter (where holds))::int as holding,
       coalesce(array_agg(id order by id) filter (where not holds), '{}') as recipients,
       coalesce(array_agg(false order by id) filter (where not holds), '{}') as explained,
       coalesce(array_agg('was not taken back'::text order by id) filter (where not holds), '{}') as whys
  from said

-- name: did
select 1 as number
 where exists (select from hark.history_step where backfill_id = %(backfill)s and state = 'DONE')
    or exists (select from hark.backfill b
                 join hark.flag_segment fs on fs.segment = 'history-' || b.id and fs.flag = b.request ->> 'flag'
                where b.id = %(backfill)s and b.undoes is null)

-- name: let_in
-- How many are in by the segment of a load, or of the one that it takes back.
select s.members as users
  from hark.backfill b
  join hark.flag_segment fs on fs.segment = 'history-' || coalesce(b.undoes, b.id) and fs.flag = b.request ->> 'flag'
  join hark.segment s on s.name = fs.segment
 where b.id = %(backfill)s and s.members > 0

-- name: through
-- Of the batches that somebody has begun and that are not done: whose steps are both done, how long that took from the first of them
-- to the last, and how long after the last question what was put off may be asked again. Of a retry, only of whom that is.
with member as materialized (
    select m.id
      from hark.backfill_batch b
      join hark.backfill_part p on p.backfill_id = b.backfill_id and p.batch = b.number and p.change is not null
     cross join lateral unnest(p.members) as m(id)
     where b.backfill_id = %(backfill)s and b.state <> 'DONE' and b.worker is not null
       and (b.retried is null or m.id = any (b.retried))
),
stepped as (
    select s.user_id, count(*) filter (where s.state = 'DONE') = 2 as done, max(s.loaded_at) as at,
           max(s.due_at) filter (where s.state = 'WAITING') as due
      from member m
      join hark.history_step s on s.user_id = m.id and s.backfill_id = %(backfill)s
     group by s.user_id
)
select (count(*) filter (where done))::int as users,
       coalesce(extract(epoch from max(at) filter (where done) - min(at) filter (where done)), 0)::float8 as seconds,
       coalesce(greatest(extract(epoch from max(due) - max(at)), 0), 0)::float8 as waits
  from stepped

-- name: load_of
select request from hark.backfill where id = %(backfill)s and kind = 'history' and undoes is null

-- name: flag_off
select f.name
  from hark.backfill b
  join hark.flag f on f.name = b.request ->> 'flag' and not f.is_on
 where b.id = %(backfill)s and b.kind = 'history' and b.undoes is null

-- name: queues_of
select distinct request ->> 'queue_url' as url
  from hark.backfill
 where id = any (%(backfills)s) and state in ('APPLYING', 'PAUSED') and undoes is null and request ? 'queue_url'
   and request ->> 'queue_url' is not null
 order by url

-- name: forget
delete from hark.history_step where backfill_id = %(backfill)s

-- name: unplanned
-- What a run was asked for whose plan did not come to its end, and about whom.
select b.state::text as state, b.request, coalesce(c.spec, b.to_stage -> 'cohort') as cohort
  from hark.backfill b
  left join hark.cohort c on c.id = b.cohort_id
 where b.id = %(backfill)s and b.hash is null

-- name: left
-- Those whom a run was to load and has not: whose steps are both done is loaded, though their batch is not.
select m.id as user_id
  from hark.backfill_part p
 cross join lateral unnest(p.members) as m(id)
 where p.backfill_id = %(backfill)s and p.change is not null and m.id > %(after)s
   and (select count(*) from hark.history_step s
         where s.user_id = m.id and s.backfill_id = %(backfill)s and s.state = 'DONE') < 2
 order by m.id
 limit %(limit)s
