-- name: claim_due
with due as (
    select recipient_id, id
      from hark.delivery
     where state = 'PENDING' and channel = %(channel)s and due_at <= %(now)s
     order by due_at
     limit %(limit)s
       for update skip locked
)
update hark.delivery d
   set state = 'SENDING', gathering = false, attempt = d.attempt + 1, lease_until = %(lease_until)s,
       worker = %(worker)s, why = '', changed_at = %(now)s
  from due
 where d.recipient_id = due.recipient_id and d.id = due.id
returning d.recipient_id, d.id, d.attempt, d.at_least_once

-- name: next_due
select min(due_at) as due_at from hark.delivery where state = 'PENDING' and channel = %(channel)s
