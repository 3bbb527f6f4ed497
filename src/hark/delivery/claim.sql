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

-- name: claim_within
-- As `claim_due`, of what the rate of its channel lets go (see gcra.py), counted by the very statement: it locks the
-- rate's row first, so that workers take turns, and moves it on by what it claimed and not by what it might have.
with rate as (
    select tat from hark.rate_limit where name = %(channel)s::hark.channel::text for update
),
free as (
    select div(%(burst)s::int * %(interval_us)s::bigint
               - extract(epoch from greatest((select tat from rate), %(now)s) - %(now)s::timestamptz) * 1000000,
               %(interval_us)s::bigint) as may
),
due as (
    select recipient_id, id
      from hark.delivery
     where state = 'PENDING' and channel = %(channel)s and due_at <= %(now)s
     order by due_at
     limit (select least(greatest(may, 0), %(limit)s)::bigint from free)
       for update skip locked
),
claimed as (
    update hark.delivery d
       set state = 'SENDING', gathering = false, attempt = d.attempt + 1, lease_until = %(lease_until)s,
           worker = %(worker)s, why = '', changed_at = %(now)s
      from due
     where d.recipient_id = due.recipient_id and d.id = due.id
    returning d.recipient_id, d.id, d.attempt, d.at_least_once
),
counted as (
    insert into hark.rate_limit (name, tat)
    select %(channel)s::hark.channel::text,
           greatest((select tat from rate), %(now)s) + taken.n * %(interval_us)s::bigint * interval '1 microsecond'
      from (select count(*) as n from claimed) taken
     where taken.n > 0
        on conflict (name) do update set tat = excluded.tat
)
select recipient_id, id, attempt, at_least_once from claimed

-- name: rate
select tat from hark.rate_limit where name = %(channel)s::hark.channel::text
