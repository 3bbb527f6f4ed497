-- part: placed
-- The message that each notification by e-mail belongs to, and when it wants that to be sent. An immediate one is a
-- message of its own; the others gather. Only a batched one has a `stale_at` other than that moment. Mornings are looked
-- for from now on: when the fan-out comes late, the message of the morning before may have left, and nobody gets two.
placed as (
    select recipient_id, event_id, 'email'::hark.channel as channel, frequency, at_least_once,
           frequency <> 'immediate' as gathering,
           case frequency when 'batched' then batch_group else '@' || frequency end as batch_group,
           case frequency when 'batched' then published_at + cooldown
                          when 'immediate' then published_at
                          when 'daily' then hark.next_local(greatest(published_at, %(now)s), zone, due_time, null)
                          else hark.next_local(greatest(published_at, %(now)s), zone, due_time, due_weekday) end as quiet_at,
           case frequency when 'batched' then coalesce(published_at + max_stale, 'infinity') end as stale_at
      from decided
     where email
)

-- part: wanted
-- One row per message to open or to join.
wanted as (
    select recipient_id, channel, batch_group, frequency, gathering,
           case when not gathering then event_id end as only_event,
           max(quiet_at) as quiet_at, min(coalesce(stale_at, quiet_at)) as stale_at,
           count(*) as items, min(event_id) as first_event, max(event_id) as last_event,
           bool_and(at_least_once) as at_least_once
      from placed
     group by 1, 2, 3, 4, 5, 6
)

-- part: wanted_by_one
-- Of one event everyone has one notification, so there is nothing to add up.
wanted as (
    select recipient_id, channel, batch_group, frequency, gathering,
           quiet_at, coalesce(stale_at, quiet_at) as stale_at,
           1 as items, event_id as first_event, event_id as last_event, at_least_once
      from placed
)

-- part: gathered
-- Join and claim cannot race: both take the row's lock, and a claimed row has left the index that this joins by.
-- Rows come in one order for every worker, so that two fan-outs never wait for each other in a circle.
gathered as (
    insert into hark.delivery as d
           (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items,
            first_event, last_event, created_at, changed_at)
    select recipient_id, channel, batch_group, frequency, gathering, at_least_once, least(quiet_at, stale_at), stale_at, items,
           first_event, last_event, %(now)s, %(now)s
      from wanted
     order by recipient_id, channel, batch_group, first_event
        on conflict (recipient_id, channel, batch_group) where gathering do update
           set due_at = least(greatest(d.due_at, excluded.due_at), least(d.stale_at, excluded.stale_at)),
               stale_at = least(d.stale_at, excluded.stale_at),
               items = d.items + excluded.items,
               moved_on = d.moved_on + 1,
               first_event = least(d.first_event, excluded.first_event),
               last_event = greatest(d.last_event, excluded.last_event),
               at_least_once = d.at_least_once and excluded.at_least_once,
               changed_at = excluded.changed_at
    returning d.recipient_id, d.id, d.channel, d.batch_group, d.gathering, d.first_event, d.due_at
)

-- part: told
-- (A full join, though every message has a notification: it can be planned by hash or merge only, never as each with
-- each, which a planner that takes both lists for short would do.)
told as (
    insert into hark.notification
           (recipient_id, event_id, in_app, why, frequency, own_frequency, named, reach, email_delivery, created_at,
            as_reason, also)
    select decided.recipient_id, decided.event_id, decided.in_app, decided.why, decided.frequency, decided.own_frequency,
           decided.named, decided.reach, g.id, %(now)s, decided.as_reason, decided.also
      from decided
      full join gathered g
        on decided.email and g.recipient_id = decided.recipient_id
       and g.batch_group = case decided.frequency when 'batched' then decided.batch_group else '@' || decided.frequency end
       and (g.gathering or g.first_event = decided.event_id)
     order by decided.recipient_id, decided.event_id
)

-- part: counted
counted as (
    insert into hark.inbox as i (recipient_id, unread)
    select recipient_id, count(*) from decided where in_app group by recipient_id order by recipient_id
        on conflict (recipient_id) do update set unread = i.unread + excluded.unread
    returning 1
)

-- part: counted_by_one
counted as (
    insert into hark.inbox as i (recipient_id, unread)
    select recipient_id, 1 from decided where in_app order by recipient_id
        on conflict (recipient_id) do update set unread = i.unread + excluded.unread
    returning 1
)

-- name: chunk_ahead
-- The next chunk of an event that is begun, as a range of ids: behind `after`, up to `upto`, where the first of its
-- entities has had its share of a chunk's subscribers; no `upto`: all that are left. The event comes with it, and what
-- its reason says of when to tell.
select e.id as event, e.reason, e.actor, e.recipients, e.entities, e.published_at,
       terms.batch_group, terms.cooldown, terms.max_stale, terms.due_time, terms.due_weekday, terms.at_least_once,
       e.reason in (select base from hark.facet) as has_narrower, e.reached as after,
       (select min(share.upto)
          from unnest(e.entities) as about(entity)
         cross join lateral (
            select s.recipient_id as upto
              from hark.subscription s
             where s.entity = about.entity and not s.muted and s.recipient_id > e.reached
             order by s.recipient_id
            offset greatest(%(pairs)s::int / cardinality(e.entities), 1) - 1
             limit 1
         ) share) as upto
  from hark.event e
  join hark.reason terms on terms.name = e.reason
 where e.fanned_out_at is null and e.chunks > 0
 order by e.chunks, e.id
 limit 1
   for update of e skip locked

-- name: ahead
-- Whether there is anything to fan out: two looks at the ends of an index, for idle workers ask all the time.
select exists (select from hark.event where fanned_out_at is null and chunks = 0) as fresh,
       exists (select from hark.event where fanned_out_at is null and chunks > 0) as begun

-- name: fan_out
select (select count(*) from progressed) as events,
       (select count(*) from progressed where not done) as begun,
       (select count(*) from decided) as notifications,
       (select count(*) from gathered) as messages,
       (select count(*) from counted) as inboxes,
       (select min(due_at) from gathered) as next_due

-- name: unfinished
select count(*) as events from (select from hark.event where fanned_out_at is null limit %(limit)s) waiting
