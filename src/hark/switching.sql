-- name: held
-- The messages that gather for these recipients are locked, and the ones that something moves into opened, in the one
-- order that fan-out also has, (recipient, channel, group): so the two never wait for each other in a circle. It is an
-- upsert as fan-out's is, for a lock by itself could not hold the place of a message that is not there yet. A place that
-- was opened just now says so by `moved_on = -1` until the switch is done; nobody sees it before.
with asked as (
    select recipient_id, reason, frequency
      from unnest(%(recipients)s::text[], %(reasons)s::text[], %(frequencies)s::hark.frequency[])
           as given(recipient_id, reason, frequency)
     where frequency <> 'never'
),
bound as (
    select a.recipient_id, a.frequency,
           case a.frequency when 'batched' then terms.batch_group else '@' || a.frequency end as batch_group
      from asked a
      join hark.reason terms on terms.name = a.reason
),
concerned as (
    select b.*
      from bound b
     where exists (
        select from hark.delivery d
         where d.recipient_id = b.recipient_id and d.channel = 'email' and d.state = 'PENDING' and d.attempt = 0
           and d.batch_group <> b.batch_group)
),
places as (
    select recipient_id, batch_group, frequency from concerned where frequency <> 'immediate'
    union
    select d.recipient_id, d.batch_group, d.frequency
      from hark.delivery d
     where d.gathering and d.channel = 'email' and d.recipient_id in (select recipient_id from concerned)
)
insert into hark.delivery as d
       (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items, moved_on,
        created_at, changed_at)
select recipient_id, 'email', batch_group, frequency, true, true, %(now)s, %(now)s, 1, -1, %(now)s, %(now)s
  from places
 order by recipient_id, batch_group
    on conflict (recipient_id, channel, batch_group) where gathering do update set changed_at = d.changed_at
returning recipient_id, id

-- name: held_alone
-- The immediate ones gather nothing, so only claims and other switches want them.
select recipient_id, id
  from hark.delivery
 where recipient_id = any(%(recipients)s::text[]) and channel = 'email' and state = 'PENDING' and attempt = 0
   and not gathering
 order by recipient_id, id
   for update

-- name: moved
-- What waits untouched for these reasons goes to the message of the new frequency: out of messages that are held, and
-- into such. (Their ids are looked for by recipient, hence `id + 0`; events one by one, for the planner takes all of an
-- event's range for the recipient's.)
-- What becomes immediate goes together, in one message due now, and not in one each. A batch that something comes to is
-- due a cool-down from now, or earlier by its oldest event. A message that nothing is left in was never claimed, so it
-- has no history, and goes.
with asked as (
    select recipient_id, reason, frequency, own_frequency
      from unnest(%(recipients)s::text[], %(reasons)s::text[], %(frequencies)s::hark.frequency[], %(own)s::boolean[])
           as given(recipient_id, reason, frequency, own_frequency)
     where frequency <> 'never'
),
bound as (
    select a.*, terms.at_least_once, terms.max_stale, place.name as batch_group,
           case a.frequency when 'batched' then %(now)s::timestamptz + terms.cooldown
                            when 'immediate' then %(now)s
                            else hark.next_local(%(now)s, coalesce(r.zone, 'UTC'), coalesce(r.digest_at, terms.due_time),
                                                 case a.frequency when 'weekly'
                                                      then coalesce(r.digest_weekday, terms.due_weekday) end)
           end as quiet_at
      from asked a
      join hark.reason terms on terms.name = a.reason
      left join hark.recipient r on r.id = a.recipient_id
      cross join lateral (select case a.frequency when 'batched' then terms.batch_group else '@' || a.frequency end as name) place
),
waiting as materialized (
    select b.*, d.id as from_id, d.first_event, d.last_event, place.id as place_id
      from bound b
      join hark.delivery d
        on d.recipient_id = b.recipient_id and d.channel = 'email' and d.state = 'PENDING' and d.attempt = 0
       and d.batch_group <> b.batch_group and d.id + 0 = any(%(held_ids)s::bigint[])
      left join hark.delivery place
        on place.gathering and place.recipient_id = b.recipient_id and place.channel = 'email'
       and place.batch_group = b.batch_group and place.id + 0 = any(%(held_ids)s::bigint[])
     where b.frequency = 'immediate' or place.id is not null
),
moving as materialized (
    select n.recipient_id, n.event_id, w.from_id, w.place_id, w.frequency, w.own_frequency, w.batch_group, w.at_least_once,
           w.quiet_at,
           case w.frequency when 'batched' then greatest(coalesce(happened.published_at + w.max_stale, 'infinity'), %(now)s)
                            else w.quiet_at end as stale_at
      from waiting w
      join hark.notification n
        on n.recipient_id = w.recipient_id and n.event_id between w.first_event and w.last_event
       and n.email_delivery = w.from_id
     cross join lateral (
        select e.reason, e.published_at from hark.event e where e.id = n.event_id offset 0
     ) happened
     where coalesce(n.as_reason, happened.reason) = w.reason
     order by n.recipient_id, n.event_id
       for update of n
),
together as (
    insert into hark.delivery
           (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at, items,
            first_event, last_event, created_at, changed_at)
    select recipient_id, 'email', batch_group, 'immediate', false, bool_and(at_least_once), %(now)s, %(now)s, count(*),
           min(event_id), max(event_id), %(now)s, %(now)s
      from moving
     where frequency = 'immediate'
     group by recipient_id, batch_group
     order by recipient_id
    returning recipient_id, id
),
-- (A full join for the plan's sake, as in fan-out: each of the immediate messages has its notifications.)
placed as (
    select m.recipient_id, m.event_id, m.from_id, coalesce(t.id, m.place_id) as to_id, m.frequency, m.own_frequency,
           m.at_least_once, m.quiet_at, m.stale_at
      from moving m
      full join together t on m.frequency = 'immediate' and t.recipient_id = m.recipient_id
),
told as (
    update hark.notification n
       set email_delivery = p.to_id, frequency = p.frequency, own_frequency = p.own_frequency
      from placed p
     where n.recipient_id = p.recipient_id and n.event_id = p.event_id
),
flows as (
    select recipient_id, from_id as id, event_id as went, null::bigint as came, null::timestamptz as quiet_at,
           null::timestamptz as stale_at, null::boolean as at_least_once
      from placed
    union all
    select recipient_id, to_id, null, event_id, quiet_at, stale_at, at_least_once from placed where frequency <> 'immediate'
),
changes as (
    select f.*, left_over.first_event, left_over.last_event
      from (
        select recipient_id, id, count(came) - count(went) as more, array_agg(went) as went, min(came) as first_come, max(came) as last_come,
               max(quiet_at) as quiet_at, min(stale_at) as stale_at, bool_and(at_least_once) as at_least_once
          from flows
         group by recipient_id, id
      ) f
      join hark.delivery d on d.recipient_id = f.recipient_id and d.id = f.id
     cross join lateral (
        select min(n.event_id) as first_event, max(n.event_id) as last_event
          from hark.notification n
         where n.recipient_id = d.recipient_id and n.event_id between d.first_event and d.last_event
           and n.email_delivery = d.id
           and n.event_id = any(f.went) is not true
     ) left_over
),
emptied as (
    delete from hark.delivery d
     using changes c
     where d.recipient_id = c.recipient_id and d.id = c.id
       and case when d.moved_on < 0 then 0 else d.items end + c.more = 0
)
update hark.delivery d
   set items = case when d.moved_on < 0 then 0 else d.items end + c.more,
       first_event = least(c.first_event, c.first_come),
       last_event = greatest(c.last_event, c.last_come),
       due_at = case when c.quiet_at is null then d.due_at
                     when d.moved_on < 0 then least(c.quiet_at, c.stale_at)
                     else least(greatest(d.due_at, c.quiet_at), d.stale_at, c.stale_at) end,
       stale_at = case when d.moved_on < 0 then c.stale_at else least(d.stale_at, c.stale_at) end,
       at_least_once = d.at_least_once and coalesce(c.at_least_once, true),
       moved_on = greatest(d.moved_on, 0),
       changed_at = %(now)s
  from changes c
 where d.recipient_id = c.recipient_id and d.id = c.id
   and case when d.moved_on < 0 then 0 else d.items end + c.more > 0

-- name: given_up
-- Places that were opened and that nothing came to.
delete from hark.delivery d
 using unnest(%(held_recipients)s::text[], %(held_ids)s::bigint[]) as given(recipient_id, id)
 where d.recipient_id = given.recipient_id and d.id = given.id and d.moved_on < 0
