-- name: flag
select is_on from hark.flag where name = %(flag)s

-- name: flags
select name from hark.flag order by name

-- name: to_start
-- Planned, to be applied without anybody saying so again, and not waiting for a second person.
select id, created_by
  from hark.backfill
 where state in ('PLANNED', 'APPROVED') and kind = 'history' and undoes is null and request -> 'start' = 'true'
   and (state = 'APPROVED' or approval_over is null or to_change <= approval_over)
 order by id
 limit 20
