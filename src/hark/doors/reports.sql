-- name: pipeline
-- Every count stops at `bound`, and is read from an index that holds only what it counts, or from the table's first rows.
select
    (select count(*) from (select from hark.event limit %(bound)s) _) as events,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.event'::regclass) as about_events,
    (select count(*) from (select from hark.event where fanned_out_at is null limit %(bound)s) _) as events_waiting,
    (select min(published_at) from (select published_at from hark.event where fanned_out_at is null
                                     order by chunks, id limit 1) _) as waiting_since,
    (select count(*) from (select from hark.event where set_aside is not null limit %(bound)s) _) as set_aside,
    (select count(*) from (select from hark.recipient limit %(bound)s) _) as recipients,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.recipient'::regclass) as about_recipients,
    (select count(*) from (select from hark.subscription limit %(bound)s) _) as subscriptions,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.subscription'::regclass) as about_subscriptions,
    (select count(*) from hark.reason where not retired) as reasons,
    (select count(*) from (select from hark.preference limit %(bound)s) _) as preferences,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.preference'::regclass) as about_preferences,
    (select count(*) from hark.walk where done_at is null and failures > 0) as walks_failing,
    (select min(fault) from hark.walk where done_at is null and failures > 0) as feed_fault,
    (select coalesce(sum(passed_over), 0) from hark.walk) as passed_over,
    (select max(fault) from hark.walk where passed_over > 0) as passed_fault,
    (select count(*) from (select from hark.delivery where gathering limit %(bound)s) _) as gathering,
    (select count(*) from (select from hark.delivery
                            where state = 'PENDING' and channel = any(%(channels)s::hark.channel[]) and due_at <= %(now)s
                            limit %(bound)s) _) as due,
    (select min(due_at) from hark.delivery where state = 'PENDING' and channel = 'email') as next_due,
    (select tat from hark.rate_limit where name = 'email') as rated_until,
    (select count(*) from (select from hark.delivery where state = 'SENDING' limit %(bound)s) _) as sending,
    (select count(*) from (select from hark.delivery where state = 'SENDING' and lease_until < %(now)s
                            limit %(bound)s) _) as leases_over,
    (select count(*) from (select from hark.delivery where outcome = 'unknown' limit %(bound)s) _) as unanswered,
    (select count(*) from (select from hark.delivery where outcome = 'unknown' and changed_at < %(settled_before)s
                            limit %(bound)s) _) as unknown,
    (select count(*) filter (where why like 'rendering failed%%')
       from (select why from hark.delivery where state = 'PENDING' and channel = 'email'
              order by due_at limit %(bound)s) _) as not_rendered,
    (select count(*) filter (where attempt > held_back)
       from (select attempt, held_back from hark.delivery where state = 'PENDING' and channel = 'email'
              order by due_at limit %(bound)s) _) as again,
    (select count(*) from (select from hark.delivery limit %(bound)s) _) as deliveries,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.delivery'::regclass) as about_deliveries,
    (select count(*) from (select from hark.notification limit %(bound)s) _) as notifications,
    (select greatest(reltuples, 0)::bigint from pg_class where oid = 'hark.notification'::regclass) as about_notifications

-- name: deliveries_newest
select recipient_id, id, channel::text as channel, frequency::text as frequency, state::text as state,
       outcome::text as outcome, due_at, items, attempt, worker, why, created_at, changed_at
  from hark.delivery
 where id < %(before)s
   and (%(recipient)s::text is null or recipient_id = %(recipient)s)
   and (%(state)s::hark.delivery_state is null or state = %(state)s)
   and (%(outcome)s::hark.outcome is null or outcome = %(outcome)s)
   and (%(since)s::timestamptz is null or created_at >= %(since)s)
 order by id desc
 limit %(limit)s

-- name: migrations_table
-- Asked before the table itself, which may not be there yet.
select to_regclass('hark.migration') is not null as yes

-- name: applied
select name from hark.migration

-- name: idle
select not exists (select from hark.event where fanned_out_at is null)
   and not exists (select from hark.delivery where state = 'PENDING' and channel = 'email' and due_at <= %(now)s)
   and not exists (select from hark.delivery where state = 'SENDING')
   and not exists (select from hark.slot where next_due <= %(now)s)
   and not exists (select from hark.walk where done_at is null and failures = 0 and retry_at <= %(now)s) as yes

-- name: user_types
select name from hark.user_type order by name

-- name: preferences
-- What holds for one recipient: their class's decision for each reason, and which half of it they chose.
select reason.name as reason, reason.title,
       array_remove(array[case when d.email then 'email' end, case when d.in_app then 'in_app' end], null) as channels,
       coalesce(p.channels ? reason.name, false) as own_channels,
       d.frequency::text as frequency, coalesce(d.own_frequency, false) as own_frequency,
       coalesce(d.why::text, 'unknown_type') as why
  from hark.recipient r
 cross join hark.reason
  left join hark.preference p on p.recipient_id = r.id
  left join hark.decision d
    on d.reason = reason.name and d.user_type = r.user_type and d.reach = r.reach
   and d.channel_choice = hark.channel_choice(p.channels -> reason.name)
   and d.frequency_choice = hark.frequency_choice(p.frequencies -> reason.name)
 where r.id = %(recipient)s and not reason.retired
 order by reason.position

-- name: zones
select name from pg_timezone_names
