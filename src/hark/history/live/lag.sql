-- name: kept
select group_name, topic, partition, position, end_position, seen_at
  from hark.ingest_position
 where group_name = any (%(groups)s)
