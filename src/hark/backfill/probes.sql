-- name: probe
-- What a product's own call costs, about: a look at the newest event by its key.
select count(*) as count from (select id from hark.event order by id desc limit 1) newest

-- name: traffic
-- How many events a second are published now, by how long ago the hundredth newest was.
select coalesce((select 100 / greatest(extract(epoch from %(now)s - published_at), 0.01)
                   from hark.event order by id desc offset 99 limit 1), 0)::float8 as rate

-- name: replica_lag
-- Who may not see the replicas sees their rows without their states. A lag that is not known is none where all is replayed.
select coalesce(max(extract(epoch from replay_lag)), 0)::float8 as seconds, count(*) filter (where state is null) as hidden,
       count(*) filter (where replay_lag is null and (state = 'catchup' or replay_lsn < pg_current_wal_lsn())) as unknown
  from pg_stat_replication

-- name: lock_waits
select count(*) as count from pg_locks where not granted and locktype <> 'advisory'

-- name: live
select (select count(*) from (select from hark.delivery
                               where state = 'PENDING' and channel in ('email', 'push') and due_at <= %(before)s
                               limit %(bound)s) due)
       + (select count(*) from (select from hark.event
                                 where fanned_out_at is null and published_at <= %(before)s
                                 limit %(bound)s) waiting) as count
