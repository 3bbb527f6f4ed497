-- name: failures
select recipient_id, batch, outcome::text as outcome, why, at
  from hark.backfill_item
 where backfill_id = %(backfill)s and outcome <> 'applied' and recipient_id > %(after)s
 order by recipient_id
 limit %(limit)s

-- name: failed_batches
select number, members, attempt, why from hark.backfill_batch where backfill_id = %(backfill)s and state = 'FAILED' order by number

-- name: retry
-- Why they were quarantined stays in the journal until they are applied again: it may be called off before that.
with freed as (
    select i.batch, i.recipient_id
      from hark.backfill_item i
     where i.backfill_id = %(backfill)s and i.outcome = 'quarantined'
),
of_batch as (
    select batch, array_agg(recipient_id order by recipient_id) as users from freed group by batch
),
opened as (
    update hark.backfill_batch b
       set state = 'WAITING', attempt = 0, lock_waits = 0, due_at = %(now)s, why = '', changed_at = %(now)s,
           retried = o.users, quarantined = b.quarantined - cardinality(o.users)
      from of_batch o
     where b.backfill_id = %(backfill)s and b.number = o.batch and b.state = 'DONE'
    returning cardinality(b.retried) as users
),
again as (
    update hark.backfill_batch b
       set state = 'WAITING', attempt = 0, lock_waits = 0, due_at = %(now)s, why = '', changed_at = %(now)s
     where b.backfill_id = %(backfill)s and b.state = 'FAILED'
    returning coalesce(cardinality(b.retried), b.to_change) as users
),
every as (
    select users from opened union all select users from again
)
select coalesce(sum(users), 0)::int as users, count(*)::int as batches from every

-- name: go_on
update hark.backfill
   set state = 'APPLYING', why = '', ended_at = null, next_at = %(now)s, changed_by = %(who)s, changed_at = %(now)s
 where id = %(backfill)s and state in ('APPLIED', 'VERIFIED', 'FAILED')
   and not exists (select from hark.backfill undone where undone.id = backfill.undoes and undone.forgotten_at is not null)
   and (undoes is null or hark.forgotten_since(undoes) = '{}')
