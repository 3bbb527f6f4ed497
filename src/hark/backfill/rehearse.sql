-- name: fullest
select r.kind, b.number
  from hark.backfill_batch b
  join hark.backfill r on r.id = b.backfill_id
 where b.backfill_id = %(backfill)s and b.state = 'WAITING' and r.state in ('PLANNED', 'APPROVED')
 order by b.to_change desc, b.number
 limit 1

-- name: wal
select (pg_current_wal_insert_lsn() - '0/0')::bigint as bytes

-- name: keep
update hark.backfill set rehearsal = %(rehearsal)s where id = %(backfill)s
