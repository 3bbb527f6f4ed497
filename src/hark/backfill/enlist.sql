-- name: hold
-- Of the session, not of a transaction: none is open while a list is read.
select pg_try_advisory_lock(1751216748, (%(backfill)s::bigint %% 2147483647)::int) as held

-- name: let_go
select pg_advisory_unlock(1751216748, (%(backfill)s::bigint %% 2147483647)::int) as held

-- name: waiting
select to_stage from hark.backfill where id = %(backfill)s and state = 'PLANNING' and cohort_id is null

-- name: give
update hark.backfill set cohort_id = %(cohort)s, to_stage = null, plan_attempt = 0, plan_due_at = null, why = ''
 where id = %(backfill)s and state = 'PLANNING' and cohort_id is null
