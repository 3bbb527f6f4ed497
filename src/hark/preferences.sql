-- part: known_by_key
-- For few matches: each looks up its recipient, their choices and its rule by their keys.
who as not materialized (select * from hark.recipient),
choices as not materialized (select * from hark.preference),
rules as not materialized (select * from hark.decision)

-- part: known_in_range
-- For many matches of one event: the recipients and choices of a range of ids, so that the planner can weigh reading the
-- range against looking each of them up.
who as not materialized (
    select * from hark.recipient where id > %(after)s and (%(upto)s::text is null or id <= %(upto)s)
),
choices as not materialized (
    select * from hark.preference where recipient_id > %(after)s and (%(upto)s::text is null or recipient_id <= %(upto)s)
)

-- part: rules_of_one
-- The rules of the one reason that may apply.
rules as not materialized (
    select * from hark.decision where reason = %(reason)s
)

-- part: rules_of_any
-- The rules of the reasons of which any may apply.
rules as not materialized (
    select * from hark.decision
     where reason = %(reason)s or reason in (select reason from hark.facet where base = %(reason)s)
)

-- part: applying
-- A row for each reason that applies to a match: the event's own, and those narrower ones that the recipient is near
-- enough for, most specific first. An event's own applies to whoever follows one of its entities, and to those it names
-- if no narrower reason does: a muted mention leaves the thread to those who follow it, and to nobody else. Who muted
-- one of its entities is reached only by name. When to tell is as the reason says that applies.
applying as (
    select event_id, recipient_id, published_at, named, reason, null::text as as_reason, null::text[] as applied, 0 as rank,
           batch_group, cooldown, max_stale, due_time, due_weekday, at_least_once
      from matched
     where not has_narrower
    union all
    select m.event_id, m.recipient_id, m.published_at, m.named and coalesce(each.rank <= array_position(near.reasons, near.by_name), true),
           each.reason, nullif(each.reason, m.reason), near.reasons, each.rank,
           terms.batch_group, terms.cooldown, terms.max_stale, terms.due_time, terms.due_weekday, terms.at_least_once
      from matched m
     cross join lateral (
        select coalesce(array_agg(hark.kind_of(s.entity)), '{}') as kinds,
               count(*) > 0 and not bool_or(s.muted) as follows
          from hark.subscription s
         where s.recipient_id = m.recipient_id and s.entity = any(m.entities)
     ) interest
     cross join lateral (
        select array_agg(near.reason order by near.rank) as reasons,
               min(near.reason) filter (where near.kind = 'named') as by_name
          from (
            select f.reason, f.rank, f.kind
              from hark.facet f
             where f.base = m.reason
               and (f.kind = 'named' and m.named or interest.follows and f.kind = any(interest.kinds))
            union all
            select m.reason, 10, null
             where interest.follows
                or m.named and not exists (select from hark.facet f where f.base = m.reason and f.kind = 'named')
          ) near
     ) near
     cross join lateral unnest(near.reasons) with ordinality as each(reason, rank)
      join hark.reason terms on terms.name = each.reason
     where m.has_narrower
)

-- part: decided_as_one
-- decide() by its truth table: one look-up per match, in the row of the recipient's class.
-- In one order, so that the statements which write it down find it sorted.
decided as materialized (
    select m.event_id, m.recipient_id, m.published_at, m.named,
           coalesce(d.email, false) as email,
           coalesce(d.in_app, false) as in_app,
           d.frequency,
           coalesce(d.own_frequency, false) as own_frequency,
           r.reach,
           coalesce(d.why, case when r.id is null then 'unknown_recipient' else 'unknown_type' end::hark.why) as why,
           m.batch_group, m.cooldown, m.max_stale, coalesce(r.digest_at, m.due_time) as due_time,
           coalesce(r.digest_weekday, m.due_weekday) as due_weekday, m.at_least_once, r.zone,
           null::text as as_reason, null::text[] as also
      from matched m
      left join who r on r.id = m.recipient_id
      left join choices p on p.recipient_id = m.recipient_id
      left join rules d
        on d.reason = m.reason and d.user_type = r.user_type and d.reach = r.reach
       and d.channel_choice = hark.channel_choice(p.channels -> m.reason)
       and d.frequency_choice = hark.frequency_choice(p.frequencies -> m.reason)
     order by m.recipient_id, m.event_id
)

-- part: decided_as_any
-- The same for each reason that applies, of which one tells: the most specific by which the recipient is told anything,
-- or else the most specific, with why not. The others are noted.
decided as materialized (
    select distinct on (a.recipient_id, a.event_id)
           a.event_id, a.recipient_id, a.published_at, a.named,
           coalesce(d.email, false) as email,
           coalesce(d.in_app, false) as in_app,
           d.frequency,
           coalesce(d.own_frequency, false) as own_frequency,
           r.reach,
           coalesce(d.why, case when r.id is null then 'unknown_recipient' else 'unknown_type' end::hark.why) as why,
           a.batch_group, a.cooldown, a.max_stale, coalesce(r.digest_at, a.due_time) as due_time,
           coalesce(r.digest_weekday, a.due_weekday) as due_weekday, a.at_least_once, r.zone,
           a.as_reason, nullif(array_remove(a.applied, a.reason), '{}') as also
      from applying a
      left join who r on r.id = a.recipient_id
      left join choices p on p.recipient_id = a.recipient_id
      left join rules d
        on d.reason = a.reason and d.user_type = r.user_type and d.reach = r.reach
       and d.channel_choice = hark.channel_choice(p.channels -> a.reason)
       and d.frequency_choice = hark.frequency_choice(p.frequencies -> a.reason)
     order by a.recipient_id, a.event_id, coalesce(d.email or d.in_app, false) desc, a.rank
)

-- name: catalogue_lock
select pg_advisory_xact_lock(hashtext('hark.catalogue'))

-- name: installed_reasons
select name, fingerprint, frequency::text as frequency, exists (select from hark.feed f where f.reason = name) as has_feed
  from hark.reason where not retired

-- name: retire_reasons
update hark.reason set retired = true where not retired and name <> all(%(kept)s::text[])

-- name: put_user_types
insert into hark.user_type (name, description)
select * from unnest(%(names)s::text[], %(descriptions)s::text[])
    on conflict (name) do update set description = excluded.description
 where user_type.description is distinct from excluded.description

-- name: put_reasons
insert into hark.reason (name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category,
                         at_least_once, position, fingerprint, auto_subscribe)
select name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category, at_least_once, position,
       fingerprint, string_to_array(auto_subscribe, ',')
  from unnest(%(names)s::text[], %(titles)s::text[], %(frequencies)s::hark.frequency[], %(cooldowns)s::interval[],
              %(max_stales)s::interval[], %(due_times)s::time[], %(due_weekdays)s::smallint[], %(groups)s::text[],
              %(categories)s::hark.category[], %(at_least_once)s::boolean[], %(positions)s::int[], %(fingerprints)s::text[],
              %(auto_subscribes)s::text[])
       as given(name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category, at_least_once,
                position, fingerprint, auto_subscribe)
    on conflict (name) do update
       set title = excluded.title, frequency = excluded.frequency, cooldown = excluded.cooldown,
           max_stale = excluded.max_stale, due_time = excluded.due_time, due_weekday = excluded.due_weekday,
           batch_group = excluded.batch_group, category = excluded.category, at_least_once = excluded.at_least_once,
           position = excluded.position, fingerprint = excluded.fingerprint, auto_subscribe = excluded.auto_subscribe, retired = false

-- name: forget_feeds
delete from hark.feed where reason = any(%(reasons)s::text[])

-- name: put_feeds
-- Before the reasons are put: whose frequency was never and is not any more, of it news begin then, see digests/planning.sql.
insert into hark.feed as f (reason, cap, overlap, returned_at, returned_snapshot)
select given.reason, given.cap, given.overlap, case when began then %(now)s::timestamptz end, case when began then pg_current_snapshot() end
  from unnest(%(reasons)s::text[], %(caps)s::int[], %(overlaps)s::interval[], %(frequencies)s::hark.frequency[])
       as given(reason, cap, overlap, frequency)
  left join hark.reason r on r.name = given.reason
 cross join lateral (select coalesce(r.frequency = 'never' and given.frequency <> 'never', false) as began) change
    on conflict (reason) do update
       set cap = excluded.cap, overlap = excluded.overlap,
           returned_at = coalesce(excluded.returned_at, f.returned_at),
           returned_snapshot = coalesce(excluded.returned_snapshot, f.returned_snapshot)
 where (f.cap, f.overlap) is distinct from (excluded.cap, excluded.overlap) or excluded.returned_at is not null

-- name: forget_facets
delete from hark.facet where base = any(%(reasons)s::text[])

-- name: put_facets
insert into hark.facet (base, rank, reason, kind)
select * from unnest(%(bases)s::text[], %(ranks)s::smallint[], %(reasons)s::text[], %(kinds)s::text[])

-- name: forget_decisions
delete from hark.decision where reason = any(%(reasons)s::text[])

-- name: put_decisions
insert into hark.decision (reason, user_type, reach, channel_choice, frequency_choice, email, in_app, frequency, own_frequency, why)
select *
  from unnest(%(reasons)s::text[], %(user_types)s::text[], %(reaches)s::hark.reach[], %(channel_choices)s::smallint[],
              %(frequency_choices)s::text[], %(email)s::boolean[], %(in_app)s::boolean[], %(frequencies)s::hark.frequency[],
              %(own_frequency)s::boolean[], %(whys)s::hark.why[])

-- name: choose
-- One recipient's choice for one reason. A null leaves that half as it is; the other reasons' choices are not touched.
insert into hark.preference as p (recipient_id, channels, frequencies, updated_at)
values (%(recipient)s,
        case when %(channels)s::jsonb is null then '{}' else jsonb_build_object(%(reason)s::text, %(channels)s::jsonb) end,
        case when %(frequency)s::text is null then '{}' else jsonb_build_object(%(reason)s::text, %(frequency)s::text) end,
        %(now)s)
    on conflict (recipient_id) do update
       set channels = p.channels || excluded.channels,
           frequencies = p.frequencies || excluded.frequencies,
           updated_at = excluded.updated_at

-- name: unchoose
update hark.preference
   set channels = channels - %(reason)s::text, frequencies = frequencies - %(reason)s::text, updated_at = %(now)s
 where recipient_id = %(recipient)s

-- name: note_return
-- Before a choice is stored: who stops being told of a feed, left now; who is told again came back now, and their digests
-- begin here (see digests/planning.sql), unless no morning has come since they left: then nothing was missed.
with asked as (
    select r.id, given.reason, own.since -> given.reason as noted, was.frequency,
           coalesce(was.email and was.frequency in ('daily', 'weekly'), false) as told,
           coalesce(becomes.email and becomes.frequency in ('daily', 'weekly'), false) as will_be
      from unnest(%(recipients)s::text[], %(reasons)s::text[], %(channels)s::jsonb[], %(frequencies)s::text[])
           as given(recipient_id, reason, channels, frequency)
      join hark.feed f on f.reason = given.reason
      join hark.recipient r on r.id = given.recipient_id
      left join hark.preference own on own.recipient_id = r.id
      left join hark.decision was
        on was.reason = given.reason and was.user_type = r.user_type and was.reach = r.reach
       and was.channel_choice = hark.channel_choice(own.channels -> given.reason)
       and was.frequency_choice = hark.frequency_choice(own.frequencies -> given.reason)
      left join hark.decision becomes
        on becomes.reason = given.reason and becomes.user_type = r.user_type and becomes.reach = 'ok'
       and becomes.channel_choice = hark.channel_choice(
               coalesce(given.channels, case when %(kept)s then own.channels -> given.reason end))
       and becomes.frequency_choice = hark.frequency_choice(
               coalesce(to_jsonb(given.frequency), case when %(kept)s then own.frequencies -> given.reason end))
),
noted as (
    select a.id,
           jsonb_object_agg(a.reason,
               case when a.told then coalesce(a.noted, '{}') || jsonb_build_object('left', %(now)s::timestamptz, 'frequency', a.frequency)
                    when next.morning > %(now)s then a.noted - array['left', 'frequency']
                    else jsonb_build_object('at', %(now)s::timestamptz, 'snapshot', pg_current_snapshot()::text) end) as since
      from asked a
      join hark.reason terms on terms.name = a.reason
      join hark.recipient r on r.id = a.id
     cross join lateral (
            select hark.next_local((a.noted ->> 'left')::timestamptz + interval '1 microsecond', r.zone, coalesce(r.digest_at, terms.due_time),
                                   case a.noted ->> 'frequency' when 'weekly' then coalesce(r.digest_weekday, terms.due_weekday) end)
                   as morning
             where a.noted ? 'left'
            union all
            select null where not coalesce(a.noted ? 'left', false)
           ) next
     where a.told <> a.will_be
     group by a.id
)
insert into hark.preference as p (recipient_id, since, updated_at)
select id, since, %(now)s from noted order by id
    on conflict (recipient_id) do update
       set since = (p.since || excluded.since) - array(select key from jsonb_each(excluded.since) where value = '{}')
