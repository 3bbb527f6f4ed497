-- name: one_moment
set transaction isolation level repeatable read, read only

-- name: event
select e.id, e.reason, e.actor, e.occurred_at, e.published_at, e.fanned_out_at, e.chunks, e.matched, e.entities,
       %(recipient)s::text = any(e.recipients) as named,
       e.reached >= %(recipient)s::text as passed, e.set_aside
  from hark.event e
 where e.id = %(event)s

-- name: reason
select frequency::text as frequency, cooldown, max_stale, due_time
  from hark.reason
 where name = %(reason)s

-- name: recipient
-- `wants_email`: whether e-mail would be among the channels if it could reach them.
select r.user_type, r.zone, r.reach::text as reach, r.suppressed, p.updated_at as chosen_at,
       coalesce(reachable.email, false) as wants_email
  from hark.recipient r
  left join hark.preference p on p.recipient_id = r.id
  left join hark.decision reachable
    on reachable.reason = %(reason)s and reachable.user_type = r.user_type and reachable.reach = 'ok'
   and reachable.channel_choice = hark.channel_choice(p.channels -> %(reason)s::text)
   and reachable.frequency_choice = hark.frequency_choice(p.frequencies -> %(reason)s::text)
 where r.id = %(recipient)s

-- name: subscriptions
select entity, muted, since
  from hark.subscription
 where recipient_id = %(recipient)s and entity = any(%(entities)s::text[])
 order by array_position(%(entities)s::text[], entity)

-- name: told
select in_app, why::text as why, frequency::text as frequency, own_frequency, named, reach::text as reach,
       email_delivery, created_at, seen_at, read_at, archived_at, as_reason, coalesce(also, '{}') as also
  from hark.notification
 where recipient_id = %(recipient)s and event_id = %(event)s

-- name: narrower
select reason from hark.facet where base = %(base)s order by rank

-- name: delivery
select id, channel::text as channel, batch_group, frequency::text as frequency, state::text as state,
       outcome::text as outcome, gathering, due_at, stale_at, items, moved_on, last_event, attempt, lease_until, worker,
       why, left_out, changed_at,
       (select tat from hark.rate_limit where name = channel::text) as rated_until,
       (select jsonb_object_agg(g.reason, g.total)
          from hark.digest g
         where g.recipient_id = d.recipient_id and g.delivery_id = d.id) as fed
  from hark.delivery d
 where recipient_id = %(recipient)s and id = %(delivery)s

-- name: moves
select at, from_state::text as from_state, from_outcome::text as from_outcome, to_state::text as to_state,
       to_outcome::text as to_outcome, attempt, worker, why
  from hark.delivery_history
 where recipient_id = %(recipient)s and delivery_id = %(delivery)s
 order by id
