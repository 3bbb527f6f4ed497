-- name: claim
-- A claim that a crash of the server undoes did no harm: nothing was done under it. So its commit need not wait for the disk.
with next as (
    select b.backfill_id, b.number
      from hark.backfill_batch b
     where b.backfill_id = %(backfill)s and b.state in ('WAITING', 'CLAIMED')
       and coalesce(b.lease_until, b.due_at) <= %(now)s and b.attempt - b.lock_waits < %(max_attempts)s
       and exists (select from hark.backfill r where r.id = %(backfill)s and r.state = 'APPLYING')
       and not exists (select from hark.backfill_switch where stopped)
       and set_config('synchronous_commit', 'off', true) is not null
     order by b.number
     limit 1
       for update of b skip locked
)
update hark.backfill_batch b
   set state = 'CLAIMED', attempt = b.attempt + 1, lease_until = %(lease_until)s, worker = %(worker)s, changed_at = %(now)s
  from next
 where b.backfill_id = next.backfill_id and b.number = next.number
returning b.number, b.attempt, b.retried, b.lock_waits

-- name: claim_paced
-- The same at a rate that all workers share: each claim moves on when the next may be, by how many users it changes.
-- Time that was not used is not saved up.
with turn as materialized (
    select r.id
      from hark.backfill r
     where r.id = %(backfill)s and r.state = 'APPLYING' and r.rate is not null and r.next_at <= %(now)s
       and not exists (select from hark.backfill_switch where stopped)
       for no key update
),
next as materialized (
    select b.backfill_id, b.number, coalesce(cardinality(b.retried), b.to_change) as users
      from hark.backfill_batch b
     where b.backfill_id = (select id from turn) and b.state in ('WAITING', 'CLAIMED')
       and coalesce(b.lease_until, b.due_at) <= %(now)s and b.attempt - b.lock_waits < %(max_attempts)s
     order by b.number
     limit 1
       for update of b skip locked
),
paced as (
    update hark.backfill r
       set next_at = greatest(r.next_at, %(now)s) + make_interval(secs => next.users / r.rate)
      from next
     where r.id = next.backfill_id
)
update hark.backfill_batch b
   set state = 'CLAIMED', attempt = b.attempt + 1, lease_until = %(lease_until)s, worker = %(worker)s, changed_at = %(now)s
  from next
 where b.backfill_id = next.backfill_id and b.number = next.number
returning b.number, b.attempt, b.retried, b.lock_waits

-- name: begin
-- A worker that stands still inside its transaction is ended by the server, and what it held is free again.
-- Nor is any row waited for for long: other users' rows are held meanwhile.
select set_config('idle_in_transaction_session_timeout', %(idle)s, true), set_config('lock_timeout', %(patience)s, true),
       pg_advisory_xact_lock_shared(1751216747, (%(backfill)s::bigint %% 2147483647)::int)

-- name: fence
-- And whether what it would do is what was planned.
select b.digest = hark.backfill_digest(b.backfill_id, b.number) as as_planned
  from hark.backfill_batch b
  join hark.backfill r on r.id = b.backfill_id
 where b.backfill_id = %(backfill)s and b.number = %(number)s
   and b.state = 'CLAIMED' and b.attempt = %(attempt)s and b.worker = %(worker)s
   and r.state = 'APPLYING' and not exists (select from hark.backfill_switch where stopped)
   for update of b

-- name: anew
-- Of users that are applied again, why they were quarantined is said anew, or not at all.
delete from hark.backfill_item
 where backfill_id = %(backfill)s and outcome = 'quarantined' and recipient_id = any (%(retried)s::text[])

-- name: settle
update hark.backfill_batch
   set state = 'DONE', lease_until = null, retried = null, applied = applied + %(applied)s, drifted = drifted + %(drifted)s,
       quarantined = quarantined + %(quarantined)s, took = took + %(took)s,
       waited = (select coalesce(jsonb_object_agg(why, seconds), '{}')
                   from (select key as why, sum(value::float8) as seconds
                           from (select * from jsonb_each_text(waited) union all select * from jsonb_each_text(%(waited)s)) each
                          group by key) summed),
       changed_at = %(now)s, why = ''
 where backfill_id = %(backfill)s and number = %(number)s and state = 'CLAIMED' and attempt = %(attempt)s and worker = %(worker)s

-- name: refuse
update hark.backfill_batch
   set state = 'FAILED', lease_until = null, changed_at = %(now)s, why = %(why)s
 where backfill_id = %(backfill)s and number = %(number)s and state = 'CLAIMED' and attempt = %(attempt)s and worker = %(worker)s

-- name: put_back
update hark.backfill_batch
   set state = 'WAITING', lease_until = null, due_at = %(due_at)s, why = %(why)s, lock_waits = least(attempt, lock_waits + %(lock_waits)s)
 where backfill_id = %(backfill)s and number = %(number)s and state = 'CLAIMED' and attempt = %(attempt)s and worker = %(worker)s

-- name: put_off
-- Sources are waited for: none of its attempts counts.
update hark.backfill_batch
   set state = 'WAITING', lease_until = null, due_at = %(due_at)s, why = 'waits for a source', lock_waits = attempt
 where backfill_id = %(backfill)s and number = %(number)s and state = 'CLAIMED' and attempt = %(attempt)s and worker = %(worker)s

-- name: progress
-- It came to something under this claim, whatever becomes of it: the attempts so far do not count any more.
update hark.backfill_batch
   set lock_waits = attempt, lease_until = %(lease_until)s
 where backfill_id = %(backfill)s and number = %(number)s and state = 'CLAIMED' and attempt = %(attempt)s and worker = %(worker)s

-- name: renew
update hark.backfill_batch b
   set lease_until = %(lease_until)s
  from hark.backfill r
 where b.backfill_id = %(backfill)s and b.number = %(number)s and b.state = 'CLAIMED' and b.attempt = %(attempt)s
   and b.worker = %(worker)s and r.id = b.backfill_id and r.state = 'APPLYING'
   and not exists (select from hark.backfill_switch where stopped)

-- name: give_up
update hark.backfill_batch
   set state = 'FAILED', lease_until = null, changed_at = %(now)s,
       why = 'its attempts are used up (' || attempt - lock_waits || ')' || case when why <> '' then ': ' || why else '' end
 where backfill_id = %(backfill)s and state in ('WAITING', 'CLAIMED') and attempt - lock_waits >= %(max_attempts)s
   and coalesce(lease_until, due_at) <= %(now)s
