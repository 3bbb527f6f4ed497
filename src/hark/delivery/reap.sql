-- name: reap_lost
-- A worker died or stalled before SENT: nothing was handed over, so another may try.
with lost as (
    select recipient_id, id
      from hark.delivery
     where state = 'SENDING' and lease_until < %(now)s
     order by lease_until
     limit %(limit)s
       for update skip locked
)
update hark.delivery d
   set state = case when d.attempt - d.held_back >= %(max_attempts)s then 'CANCELED' else 'PENDING' end::hark.delivery_state,
       lease_until = null, due_at = %(now)s, changed_at = %(now)s,
       why = 'the lease of worker ' || d.worker || ' ran out' ||
             case when d.attempt - d.held_back >= %(max_attempts)s then '; attempts used up (' || d.attempt - d.held_back || ')' else '' end
  from lost
 where d.recipient_id = lost.recipient_id and d.id = lost.id
returning d.id

-- name: reap_unanswered
-- Only reasons that ask for at least once: the answer never came, so it is sent again, as long as there are attempts.
with unanswered as (
    select recipient_id, id
      from hark.delivery
     where outcome = 'unknown' and changed_at < %(before)s and at_least_once and attempt - held_back < %(max_attempts)s
     order by changed_at
     limit %(limit)s
       for update skip locked
)
update hark.delivery d
   set state = 'PENDING', outcome = 'none', due_at = %(now)s, changed_at = %(now)s,
       why = 'no answer came; its reason asks for at least once'
  from unanswered
 where d.recipient_id = unanswered.recipient_id and d.id = unanswered.id
returning d.id
