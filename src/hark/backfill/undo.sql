-- name: done
select b.kind, b.request, b.cohort_id, b.batch_size, b.approval_over, b.notify,
       exists (select from hark.backfill_batch d where d.backfill_id = b.id and d.applied > 0) as journaled
  from hark.backfill b
 where b.id = %(backfill)s
