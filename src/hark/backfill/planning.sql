-- name: again
-- It failed for now: when it is tried again.
update hark.backfill
   set plan_attempt = %(attempt)s, plan_due_at = %(due)s, why = %(why)s
 where id = %(backfill)s and (state = 'PLANNING' or state = 'PLANNED' and rehearsal is null)
