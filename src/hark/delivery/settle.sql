-- name: withdraw
-- SENDING → CANCELED or PENDING: nothing was handed over.
-- (What has a lease is SENDING, by the table's check; said so, no plan reads through all that is being sent.)
update hark.delivery d
   set state = given.state, lease_until = null, due_at = coalesce(given.due_at, d.due_at), why = given.why,
       left_out = given.left_out, silent = given.silent, changed_at = %(now)s
  from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[], %(states)s::hark.delivery_state[],
              %(due_ats)s::timestamptz[], %(whys)s::text[], %(left_out)s::jsonb[],
              %(silent)s::jsonb[])
       as given(recipient_id, id, attempt, state, due_at, why, left_out, silent)
 where d.recipient_id = given.recipient_id and d.id = given.id
   and d.lease_until is not null and d.attempt = given.attempt
returning d.id

-- name: mark
-- SENDING → SENT (unknown): from here on never again by itself. (By its lease, as above.)
update hark.delivery d
   set state = 'SENT', outcome = 'unknown', lease_until = null, why = given.why, left_out = given.left_out,
       silent = given.silent, changed_at = %(now)s
  from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[], %(whys)s::text[], %(left_out)s::jsonb[],
              %(silent)s::jsonb[])
       as given(recipient_id, id, attempt, why, left_out, silent)
 where d.recipient_id = given.recipient_id and d.id = given.id
   and d.lease_until is not null and d.attempt = given.attempt
returning d.id

-- name: settle
-- SENT (unknown) → accepted, PENDING or CANCELED (refused); an answer that never came leaves it as it is.
-- (SENT and not accepted is unknown, by the table's check; said so, no plan reads through all that is unknown.)
-- An address that its provider refused is suppressed, if it still is the recipient's.
with moved as (
    update hark.delivery d
       set state = given.state, outcome = given.outcome, due_at = coalesce(given.due_at, d.due_at), why = given.why,
           changed_at = %(now)s
      from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[], %(states)s::hark.delivery_state[],
                  %(outcomes)s::hark.outcome[], %(due_ats)s::timestamptz[], %(whys)s::text[])
           as given(recipient_id, id, attempt, state, outcome, due_at, why)
     where d.recipient_id = given.recipient_id and d.id = given.id
       and d.state = 'SENT' and d.outcome <> 'accepted' and d.attempt = given.attempt
    returning d.recipient_id, d.id
),
suppressed as (
    update hark.recipient r
       set suppressed = bad.why
      from unnest(%(bad_recipients)s::text[], %(bad_addresses)s::text[], %(bad_whys)s::text[])
           as bad(recipient_id, address, why)
     where r.id = bad.recipient_id and r.address = bad.address
)
select id from moved
