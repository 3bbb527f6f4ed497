-- part: picked_fresh
-- Events that no fan-out has touched yet. They go before half-done big ones, so that one event with a million
-- subscribers does not hold up the others.
picked as materialized (
    select id, reason, actor, recipients, entities, published_at, reached
      from hark.event
     where fanned_out_at is null and chunks = 0
     order by id
     limit %(events)s
       for update skip locked
)

-- part: picked_one
-- One event by itself, when it could not be told apart which of many was at fault.
picked as materialized (
    select id, reason, actor, recipients, entities, published_at, reached
      from hark.event
     where id = %(event)s and fanned_out_at is null and chunks = 0
       for update skip locked
)

-- name: waiting_fresh
select id as event from hark.event where fanned_out_at is null and chunks = 0 order by id limit %(events)s

-- name: set_aside
-- Its own data stand in the way of its fan-out: it is done with, for others to go on, and says so.
update hark.event
   set fanned_out_at = %(now)s, set_aside = %(why)s
 where id = %(event)s and fanned_out_at is null

-- part: picked_again
-- The event of a chunk that was measured out just before, unless another worker has taken it on since.
picked as materialized (
    select id from hark.event where id = %(event)s and reached = %(after)s and fanned_out_at is null for update skip locked
)

-- part: progressed
-- An event is done when it matched fewer recipients than it might have; else the next chunk goes on behind `reached`.
-- (Counted over both lists laid end to end: joined, a planner that takes them for short would compare each with each.)
progressed as (
    update hark.event e
       set chunks = e.chunks + 1,
           matched = e.matched + m.recipients,
           reached = coalesce(m.reached, e.reached),
           fanned_out_at = case when m.recipients < %(pairs)s then %(now)s::timestamptz end
      from (
        select event_id, count(recipient_id) as recipients, max(recipient_id) as reached
          from (select event_id, recipient_id from matched union all select id, null from picked) every
         group by event_id
      ) m
     where e.id = m.event_id
    returning e.fanned_out_at is not null as done
)

-- part: progressed_in_range
progressed as (
    update hark.event e
       set chunks = e.chunks + 1,
           matched = e.matched + (select count(*) from decided),
           reached = coalesce(%(upto)s, e.reached),
           fanned_out_at = case when %(upto)s::text is null then %(now)s::timestamptz end
      from picked p
     where e.id = p.id
    returning e.fanned_out_at is not null as done
)

-- name: publish
-- One text carries the whole event, so that every driver sends it alike, whatever it makes of lists, JSON or times.
select hark.publish(reason => given.reason, recipients => given.recipients, entities => given.entities,
                    actor => given.actor, about => given.about, payload => given.payload, key => given.key,
                    occurred_at => given.occurred_at) as event_id
  from jsonb_to_record(%(document)s::text::jsonb)
       as given(reason text, recipients text[], entities text[], actor text, about text, payload jsonb, key text,
                occurred_at timestamptz)
