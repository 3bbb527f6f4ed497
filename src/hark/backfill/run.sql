-- name: standing
select b.id, b.kind, b.state::text as state, b.batch_size, b.rate, b.adaptive, b.opens, b.closes, b.zone, b.next_at, s.stopped,
       b.cohort_id is null as unlisted,
       coalesce(jsonb_path_exists(b.to_stage, 'strict $.cohort.**.file'), false) as reads_files, b.rehearsal is null and b.to_change > 0 as unmeasured,
       b.plan_attempt, b.plan_due_at
  from hark.backfill b cross join hark.backfill_switch s
 where b.id = %(backfill)s

-- name: active
-- Those of a kind that this version does not know are left to a newer one. A plan that was not measured still is.
select id
  from (select id, kind, plan_due_at from hark.backfill where state in ('PLANNING', 'APPLYING')
        union all
        select id, kind, plan_due_at from hark.backfill where state = 'PLANNED' and rehearsal is null and to_change > 0) open
 where kind = any(%(kinds)s) and coalesce(plan_due_at <= %(now)s, true)
 order by id

-- name: due
-- When planning that failed for now goes on.
select min(plan_due_at) as at from hark.backfill where state = 'PLANNING' and plan_due_at > %(now)s

-- name: keep_waits
-- What was waited for before any batch could be done, or after the last.
update hark.backfill
   set waited = (select coalesce(jsonb_object_agg(why, seconds), '{}')
                   from (select key as why, sum(value::float8) as seconds
                           from (select * from jsonb_each_text(waited) union all select * from jsonb_each_text(%(waited)s)) each
                          group by key) summed)
 where id = %(backfill)s

-- name: open
select count(*)::int as batches,
       case when count(*) filter (where state = 'CLAIMED') = 0 then min(due_at) end as retry_at, min(lease_until) as lease_until,
       coalesce(bool_and(why like 'LockNotAvailable%%'), false) as locked
  from hark.backfill_batch
 where backfill_id = %(backfill)s and state in ('WAITING', 'CLAIMED')

-- name: left
-- The first batch that is not done yet, if there is one.
select number::bigint as id
  from hark.backfill_batch
 where backfill_id = %(backfill)s and state in ('WAITING', 'CLAIMED')
 order by number
 limit 1

-- name: finish
-- Guarded by the state: a cancel that came first stays, and one that comes later is refused.
update hark.backfill b
   set state = case when exists (select from hark.backfill_batch f where f.backfill_id = b.id and f.state = 'FAILED')
                    then 'FAILED' else 'APPLIED' end::hark.backfill_state,
       why = case when exists (select from hark.backfill_batch f where f.backfill_id = b.id and f.state = 'FAILED')
                  then 'a batch used up its attempts; hark backfill failures says which' else '' end,
       ended_at = %(now)s, changed_at = %(now)s, changed_by = %(who)s
 where b.id = %(backfill)s and b.state = 'APPLYING'
   and not exists (select from hark.backfill_batch o where o.backfill_id = b.id and o.state in ('WAITING', 'CLAIMED'))
returning b.state::text as state
