-- name: done
select b.kind, b.request, b.cohort_id, b.batch_size, b.approval_over, b.notify
  from hark.backfill b
 where b.id = %(backfill)s
