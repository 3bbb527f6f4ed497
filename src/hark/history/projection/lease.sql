-- name: take
-- Renewed when a third of it is gone, so that a busy projector does not write it at every step.
update hark.projector
   set holder = %(holder)s, lease_until = %(lease_until)s
 where holder is null or holder = %(holder)s or lease_until <= %(now)s

-- name: held_by
select holder, lease_until from hark.projector

-- name: leave
update hark.projector set holder = null, lease_until = null where holder = %(holder)s
