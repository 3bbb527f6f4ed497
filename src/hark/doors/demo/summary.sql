-- name: biggest
select recipient_id, id, items, last_event as event
  from hark.delivery
 where state = 'SENT'
 order by items desc, id
 limit 1

-- name: left_out
-- Somebody read this in app before the mail left: the story of a late change that counted.
select recipient_id, id, items, dropped.event::bigint as event
  from hark.delivery
 cross join lateral jsonb_each_text(left_out) as dropped(event, because)
 where state = 'SENT' and because = 'read'
 order by items desc, id, 4
 limit 1

-- name: mailed
select count(*) as notifications from hark.notification n join hark.delivery d
    on d.recipient_id = n.recipient_id and d.id = n.email_delivery
 where d.state in ('SENT', 'CANCELED')

-- name: waiting
select count(*) as messages from hark.delivery where state = 'PENDING'
