-- name: look
select paused_by, paused_at from hark.ingest_switch

-- name: pause
update hark.ingest_switch set paused_by = %(who)s, paused_at = %(now)s where paused_at is null

-- name: resume
update hark.ingest_switch set paused_by = null, paused_at = null where paused_at is not null
