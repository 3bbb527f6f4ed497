-- part: asked
-- What a reason's recheck is asked: one row an item, numbered by `n`; of an event its id, of a feed its key. (Text by the
-- database's collation, as a product's tables have it: their indexes are of no use to a comparison by another one.)
asked as materialized (
    select given.n, given.recipient_id, given.event_id, null::text as key, e.actor collate "default" as actor,
           e.about collate "default" as about, e.entities collate "default" as entities, e.occurred_at as at, e.payload
      from unnest(%(numbers)s::int[], %(recipients)s::text[], %(events)s::bigint[]) as given(n, recipient_id, event_id)
      join hark.event e on e.id = given.event_id
     union all
    select given.n, given.recipient_id, null, given.key, item ->> 2, item ->> 3, '{}', (item ->> 1)::timestamptz, item -> 4
      from unnest(%(numbers)s::int[], %(recipients)s::text[], %(deliveries)s::bigint[], %(keys)s::text[])
           as given(n, recipient_id, delivery_id, key)
      join hark.digest g
        on g.recipient_id = given.recipient_id and g.delivery_id = given.delivery_id and g.reason = %(reason)s
     cross join lateral jsonb_array_elements(g.items) as item
     where item ->> 0 = given.key
)

-- name: questions
-- For those who are asked in Python or over HTTP.
select n, recipient_id, event_id, key, actor, about, entities, at, payload::text as payload from asked order by n

-- name: answers
-- `answered` is the product's own query.
select n::int as n, why::text collate "C" as why, payload::jsonb::text as payload from answered

-- name: careful
-- A query of the product's may read, and not for ever.
select set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(milliseconds)s, true)
