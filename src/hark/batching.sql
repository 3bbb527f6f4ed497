-- part: wanted
-- One row per message to open or to join. An immediate notification is a message of its own; the others gather.
wanted as (
    select recipient_id, 'email'::hark.channel as channel, due.batch_group, decided.frequency, due.gathering,
           case when not due.gathering then event_id end as only_event,
           max(due.quiet_at) as quiet_at, min(due.stale_at) as stale_at,
           count(*) as items, min(event_id) as first_event, max(event_id) as last_event,
           bool_and(at_least_once) as at_least_once
      from decided
     cross join lateral (
        select decided.batch_group, true as gathering,
               published_at + cooldown as quiet_at, coalesce(published_at + max_stale, 'infinity') as stale_at
         where decided.frequency = 'batched'
        union all
        select '@immediate', false, published_at, published_at
         where decided.frequency = 'immediate'
        union all
        select '@' || decided.frequency, true, local.due, local.due
          from hark.next_local(published_at, zone, due_time, case when decided.frequency = 'weekly' then due_weekday end) as local(due)
         where decided.frequency in ('daily', 'weekly')
     ) due
     where email
     group by 1, 2, 3, 4, 5, 6
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
told as (
    insert into hark.notification
           (recipient_id, event_id, in_app, why, frequency, own_frequency, named, reach, email_delivery, created_at)
    select decided.recipient_id, decided.event_id, decided.in_app, decided.why, decided.frequency, decided.own_frequency,
           decided.named, decided.reach, g.id, %(now)s
      from decided
      left join gathered g
        on decided.email and g.recipient_id = decided.recipient_id
       and g.batch_group = case decided.frequency when 'batched' then decided.batch_group else '@' || decided.frequency end
       and (g.gathering or g.first_event = decided.event_id)
     order by decided.recipient_id, decided.event_id
    returning 1
)

-- part: counted
counted as (
    insert into hark.inbox as i (recipient_id, unread)
    select recipient_id, count(*) from decided where in_app group by recipient_id order by recipient_id
        on conflict (recipient_id) do update set unread = i.unread + excluded.unread
    returning 1
)

-- name: fan_out
select (select count(*) from progressed) as events,
       (select count(*) from progressed where not done) as begun,
       (select count(*) from told) as notifications,
       (select count(*) from gathered) as messages,
       (select count(*) from counted) as inboxes,
       (select min(due_at) from gathered) as next_due

-- name: unfinished
select count(*) as events from (select from hark.event where fanned_out_at is null limit %(limit)s) waiting
