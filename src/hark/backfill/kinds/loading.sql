-- name: asked
select request, undoes from hark.backfill where id = %(backfill)s
