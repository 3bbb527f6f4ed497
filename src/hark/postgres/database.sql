-- name: clock
select clock_timestamp() as now

-- name: installation
select id::text as id from hark.installation
