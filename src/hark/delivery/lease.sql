-- name: renew
-- Only what this attempt still holds: a zombie renews nothing. (What has a lease is SENDING, as in settle.sql.)
update hark.delivery d
   set lease_until = %(lease_until)s
  from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[]) as given(recipient_id, id, attempt)
 where d.recipient_id = given.recipient_id and d.id = given.id
   and d.lease_until is not null and d.attempt = given.attempt
