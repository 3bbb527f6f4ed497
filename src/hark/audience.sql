-- part: matched
-- Per event the next recipients behind the one it reached: those it names, and those subscribed to its entities, each
-- once; never its actor, unless it only names recipients. Every branch is read in order from its index and stops at the
-- chunk's size; the branches do not overlap, so only an event of several entities has to sort out who follows more than
-- one of them, and who muted one: those it reaches only by name. (`offset 0` keeps that a look at each one's own
-- mutes; as a join it can be planned as a walk through everybody's, for every chunk.)
-- What the reason says of when to tell comes along, for joining it to every recipient later on costs more; and the
-- entities, if there are narrower reasons for those who follow some of them.
matched as materialized (
    select p.id as event_id, p.reason, p.published_at, a.recipient_id, a.named,
           p.has_narrower, case when p.has_narrower then p.entities end as entities,
           terms.batch_group, terms.cooldown, terms.max_stale, terms.due_time, terms.due_weekday, terms.at_least_once
      from (select *, reason in (select base from hark.facet) as has_narrower from picked) p
      join hark.reason terms on terms.name = p.reason
     cross join lateral (
        select recipient_id, named
          from (
            (select distinct named.id as recipient_id, true as named
               from unnest(p.recipients) as named(id)
              where named.id > p.reached and (p.entities = '{}' or named.id is distinct from p.actor)
              order by named.id
              limit %(pairs)s)
            union all
            (select s.recipient_id, false
               from hark.subscription s
              where cardinality(p.entities) = 1 and s.entity = p.entities[1] and not s.muted
                and s.recipient_id > p.reached and s.recipient_id is distinct from p.actor
                and s.recipient_id not in (select unnest(p.recipients))
              order by s.recipient_id
              limit %(pairs)s)
            union all
            (select distinct subscriber.recipient_id, false
               from unnest(p.entities) as about(entity)
              cross join lateral (
                select s.recipient_id
                  from hark.subscription s
                 where cardinality(p.entities) > 1 and s.entity = about.entity and not s.muted
                   and s.recipient_id > p.reached and s.recipient_id is distinct from p.actor
                   and s.recipient_id not in (select unnest(p.recipients))
                   and not exists (
                        select from hark.subscription silent
                         where silent.recipient_id = s.recipient_id and silent.entity = any(p.entities) and silent.muted
                        offset 0)
                 order by s.recipient_id
                 limit %(pairs)s) subscriber
              order by subscriber.recipient_id
              limit %(pairs)s)
          ) either
         order by recipient_id
         limit %(pairs)s
     ) a
)

-- part: matched_in_range
-- The same for one event and the recipients of one range of ids, however many they are; no `upto`: to the end. What is
-- known of the event is given, not joined, so that the planner sees through to the one branch that its entities need.
matched as (
    select %(event)s::bigint as event_id, %(reason)s::text as reason, %(published_at)s::timestamptz as published_at,
           a.recipient_id, a.named, %(has_narrower)s::boolean as has_narrower,
           %(entities)s::text[] as entities,
           %(batch_group)s::text as batch_group, %(cooldown)s::interval as cooldown, %(max_stale)s::interval as max_stale,
           %(due_time)s::time as due_time, %(due_weekday)s::smallint as due_weekday, %(at_least_once)s::boolean as at_least_once
      from (
        select distinct named.id collate "C" as recipient_id, true as named
          from unnest(%(recipients)s::text[]) as named(id)
         where named.id collate "C" > %(after)s and (%(upto)s::text is null or named.id collate "C" <= %(upto)s)
           and (cardinality(%(entities)s::text[]) = 0 or named.id is distinct from %(actor)s)
        union all
        select s.recipient_id, false
          from hark.subscription s
         where cardinality(%(entities)s::text[]) = 1 and s.entity = (%(entities)s::text[])[1] and not s.muted
           and s.recipient_id > %(after)s and (%(upto)s::text is null or s.recipient_id <= %(upto)s)
           and s.recipient_id is distinct from %(actor)s and s.recipient_id <> all (%(recipients)s::text[])
        union all
        select distinct s.recipient_id, false
          from hark.subscription s
         where cardinality(%(entities)s::text[]) > 1 and s.entity = any (%(entities)s::text[]) and not s.muted
           and s.recipient_id > %(after)s and (%(upto)s::text is null or s.recipient_id <= %(upto)s)
           and s.recipient_id is distinct from %(actor)s and s.recipient_id <> all (%(recipients)s::text[])
           and not exists (
                select from hark.subscription silent
                 where silent.recipient_id = s.recipient_id and silent.entity = any (%(entities)s::text[]) and silent.muted
                   and silent.recipient_id > %(after)s and (%(upto)s::text is null or silent.recipient_id <= %(upto)s))
      ) a
     where exists (select from picked)
)

-- name: put_recipients
-- Last writer wins per recipient; a new address is no longer suppressed. Whoever's morning moves, by zone or by choice,
-- what gathers for it moves along. Who is deactivated, or of another user type, and so not told of a feed any more, left
-- now; who is told again came back now, and is not told of all that was meanwhile (as `note_return` has it of choices).
with given as (
    select distinct on (id) *
      from unnest(%(ids)s::text[], %(user_types)s::text[], %(addresses)s::text[], %(confirmed)s::boolean[],
                  %(opted_in)s::boolean[], %(active)s::boolean[], %(zones)s::text[], %(locales)s::text[], %(attributes)s::jsonb[],
                  %(digest_ats)s::time[], %(digest_weekdays)s::smallint[])
           with ordinality
           as g(id, user_type, address, confirmed, opted_in, active, zone, locale, attributes, digest_at, digest_weekday, place)
     order by id, place desc
),
written as (
    insert into hark.recipient as r
           (id, user_type, address, confirmed, opted_in, active, zone, locale, attributes, digest_at, digest_weekday, updated_at)
    select id, user_type, address, confirmed, opted_in, active, zone, locale, attributes, digest_at, digest_weekday, %(now)s
      from given
     order by id
        on conflict (id) do update
           set user_type = excluded.user_type, address = excluded.address, confirmed = excluded.confirmed,
               opted_in = excluded.opted_in, active = excluded.active, zone = excluded.zone, locale = excluded.locale,
               attributes = excluded.attributes, digest_at = excluded.digest_at, digest_weekday = excluded.digest_weekday,
               updated_at = excluded.updated_at,
               suppressed = case when r.address is not distinct from excluded.address then r.suppressed end
    returning 1
),
calendar as (
    select due_time, due_weekday from hark.reason where not retired order by position limit 1
),
turned as (
    select g.id, f.reason, own.since -> f.reason as noted, before.frequency, g.zone,
           coalesce(g.digest_at, calendar.due_time) as due_time, coalesce(g.digest_weekday, calendar.due_weekday) as due_weekday,
           coalesce(before.email and before.frequency in ('daily', 'weekly'), false) as told,
           coalesce(after.email and after.frequency in ('daily', 'weekly'), false) as will_be
      from given g
      join hark.recipient was on was.id = g.id and (was.active, was.user_type) <> (g.active, g.user_type)
     cross join calendar
     cross join hark.feed f
      left join hark.preference own on own.recipient_id = g.id
      left join hark.decision before
        on before.reason = f.reason and before.user_type = was.user_type
       and before.reach = case when was.active then 'ok' else 'inactive' end::hark.reach
       and before.channel_choice = hark.channel_choice(own.channels -> f.reason)
       and before.frequency_choice = hark.frequency_choice(own.frequencies -> f.reason)
      left join hark.decision after
        on after.reason = f.reason and after.user_type = g.user_type
       and after.reach = case when g.active then 'ok' else 'inactive' end::hark.reach
       and after.channel_choice = hark.channel_choice(own.channels -> f.reason)
       and after.frequency_choice = hark.frequency_choice(own.frequencies -> f.reason)
),
noted as (
    insert into hark.preference as p (recipient_id, since, updated_at)
    select t.id,
           jsonb_object_agg(t.reason,
               case when t.told then coalesce(t.noted, '{}') || jsonb_build_object('left', %(now)s::timestamptz, 'frequency', t.frequency)
                    when hark.next_local((t.noted ->> 'left')::timestamptz + interval '1 microsecond', t.zone, t.due_time,
                                         case t.noted ->> 'frequency' when 'weekly' then t.due_weekday end) > %(now)s
                    then t.noted - array['left', 'frequency']
                    else jsonb_build_object('at', %(now)s::timestamptz, 'snapshot', pg_current_snapshot()::text) end),
           %(now)s
      from turned t
     where t.told <> t.will_be
     group by t.id
     order by t.id
        on conflict (recipient_id) do update
           set since = (p.since || excluded.since) - array(select key from jsonb_each(excluded.since) where value = '{}')
),
waiting as (
    select d.recipient_id, d.id, morning.due_at
      from given g
      join hark.recipient was on was.id = g.id
       and (was.zone, was.digest_at, was.digest_weekday) is distinct from (g.zone, g.digest_at, g.digest_weekday)
     cross join calendar
     cross join lateral (values
        ('@daily', hark.next_local(%(now)s::timestamptz, g.zone, coalesce(g.digest_at, calendar.due_time), null)),
        ('@weekly', hark.next_local(%(now)s, g.zone, coalesce(g.digest_at, calendar.due_time),
                                    coalesce(g.digest_weekday, calendar.due_weekday)))
     ) as morning(batch_group, due_at)
      join hark.delivery d
        on d.gathering and d.recipient_id = g.id and d.channel = 'email' and d.batch_group = morning.batch_group
     order by d.recipient_id, d.channel, d.batch_group
       for update of d
),
moved as (
    update hark.delivery d
       set due_at = w.due_at, stale_at = w.due_at, changed_at = %(now)s
      from waiting w
     where d.recipient_id = w.recipient_id and d.id = w.id and d.gathering
)
select count(*) as written from written

-- name: unknown_zones
select distinct zone
  from unnest(%(zones)s::text[]) as given(zone)
 where not exists (select from pg_timezone_names where name = given.zone)

-- name: unknown_user_types
select distinct user_type
  from unnest(%(user_types)s::text[]) as given(user_type)
 where not exists (select from hark.user_type where name = given.user_type)

-- name: user_types
select name from hark.user_type order by name

-- name: subscribe
-- What was only muted is followed from now on, and stays muted.
insert into hark.subscription as s (recipient_id, entity, muted, since)
select distinct recipient_id, entity, false, %(now)s::timestamptz
  from unnest(%(recipients)s::text[], %(entities)s::text[]) as given(recipient_id, entity)
 order by recipient_id, entity
    on conflict (recipient_id, entity) do update set followed = true, since = excluded.since where not s.followed

-- name: unsubscribe
delete from hark.subscription s
 using unnest(%(recipients)s::text[], %(entities)s::text[]) as given(recipient_id, entity)
 where s.recipient_id = given.recipient_id and s.entity = given.entity

-- name: mute
-- Also of who is not subscribed: a muted row that is not followed.
insert into hark.subscription as s (recipient_id, entity, muted, followed, since)
select distinct recipient_id, entity, true, false, %(now)s::timestamptz
  from unnest(%(recipients)s::text[], %(entities)s::text[]) as given(recipient_id, entity)
 order by recipient_id, entity
    on conflict (recipient_id, entity) do update set muted = true where not s.muted

-- name: unmute
-- What was followed before speaks again; what only ever was a mute is gone.
with given as (
    select distinct recipient_id, entity from unnest(%(recipients)s::text[], %(entities)s::text[]) as given(recipient_id, entity)
),
heard as (
    update hark.subscription s
       set muted = false
      from given
     where s.recipient_id = given.recipient_id and s.entity = given.entity and s.muted and s.followed
    returning 1
),
gone as (
    delete from hark.subscription s
     using given
     where s.recipient_id = given.recipient_id and s.entity = given.entity and not s.followed
    returning 1
)
select (select count(*) from heard) + (select count(*) from gone) as changed

-- name: subscriptions
select entity, muted, followed, since
  from hark.subscription
 where recipient_id = %(recipient)s and entity > %(after)s
   and (%(muted)s::boolean is null or muted = %(muted)s)
   and (%(kind)s::text is null or hark.kind_of(entity) = %(kind)s)
 order by entity
 limit %(limit)s

-- name: recipients
select id, user_type, address, confirmed, opted_in, active, zone, locale, attributes, suppressed, reach::text as reach,
       digest_at, digest_weekday
  from hark.recipient
 where id > %(after)s
   and (%(user_type)s::text is null or user_type = %(user_type)s)
 order by id
 limit %(limit)s
