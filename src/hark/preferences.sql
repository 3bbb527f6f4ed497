-- part: known_by_key
-- For few matches: each looks up its recipient, their choices and its rule by their keys.
who as not materialized (select * from hark.recipient),
choices as not materialized (select * from hark.preference),
rules as not materialized (select * from hark.decision)

-- part: known_in_range
-- For many matches of one event: its reason's rules, and the recipients and choices of a range of ids, so that the
-- planner can weigh reading the range against looking each of them up.
who as not materialized (
    select * from hark.recipient where id > %(after)s and (%(upto)s::text is null or id <= %(upto)s)
),
choices as not materialized (
    select * from hark.preference where recipient_id > %(after)s and (%(upto)s::text is null or recipient_id <= %(upto)s)
),
rules as not materialized (
    select * from hark.decision where reason = %(reason)s
)

-- part: decided
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
           m.batch_group, m.cooldown, m.max_stale, m.due_time, m.due_weekday, m.at_least_once, r.zone
      from matched m
      left join who r on r.id = m.recipient_id
      left join choices p on p.recipient_id = m.recipient_id
      left join rules d
        on d.reason = m.reason and d.user_type = r.user_type and d.reach = r.reach
       and d.channel_choice = hark.channel_choice(p.channels -> m.reason)
       and d.frequency_choice = hark.frequency_choice(p.frequencies -> m.reason)
     order by m.recipient_id, m.event_id
)

-- name: catalogue_lock
select pg_advisory_xact_lock(hashtext('hark.catalogue'))

-- name: installed_reasons
select name, fingerprint from hark.reason where not retired

-- name: retire_reasons
update hark.reason set retired = true where not retired and name <> all(%(kept)s::text[])

-- name: put_user_types
insert into hark.user_type (name, description)
select * from unnest(%(names)s::text[], %(descriptions)s::text[])
    on conflict (name) do update set description = excluded.description
 where user_type.description is distinct from excluded.description

-- name: put_reasons
insert into hark.reason (name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category,
                         at_least_once, position, fingerprint)
select *
  from unnest(%(names)s::text[], %(titles)s::text[], %(frequencies)s::hark.frequency[], %(cooldowns)s::interval[],
              %(max_stales)s::interval[], %(due_times)s::time[], %(due_weekdays)s::smallint[], %(groups)s::text[],
              %(categories)s::hark.category[], %(at_least_once)s::boolean[], %(positions)s::int[], %(fingerprints)s::text[])
    on conflict (name) do update
       set title = excluded.title, frequency = excluded.frequency, cooldown = excluded.cooldown,
           max_stale = excluded.max_stale, due_time = excluded.due_time, due_weekday = excluded.due_weekday,
           batch_group = excluded.batch_group, category = excluded.category, at_least_once = excluded.at_least_once,
           position = excluded.position, fingerprint = excluded.fingerprint, retired = false

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
-- Whoever is not told of a feed now and chooses to be: their digests begin here (see digests/planning.sql).
insert into hark.preference as p (recipient_id, since, updated_at)
select r.id, jsonb_object_agg(given.reason, jsonb_build_object('at', %(now)s::timestamptz, 'snapshot', pg_current_snapshot()::text)), %(now)s
  from unnest(%(recipients)s::text[], %(reasons)s::text[]) as given(recipient_id, reason)
  join hark.feed f on f.reason = given.reason
  join hark.recipient r on r.id = given.recipient_id
  left join hark.preference own on own.recipient_id = r.id
  left join hark.decision d
    on d.reason = given.reason and d.user_type = r.user_type and d.reach = r.reach
   and d.channel_choice = hark.channel_choice(own.channels -> given.reason)
   and d.frequency_choice = hark.frequency_choice(own.frequencies -> given.reason)
 where (d.email and d.frequency in ('daily', 'weekly')) is not true
 group by r.id
 order by r.id
    on conflict (recipient_id) do update set since = p.since || excluded.since
