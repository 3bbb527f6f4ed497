-- name: bury
insert into hark.ingest_dead (group_name, topic, partition, at_offset, value, cause, written_at, died_at)
select %(group)s, topic, partition, at_offset, value, cause, written_at, %(now)s
  from unnest(%(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[], %(values)s::bytea[], %(causes)s::text[],
              %(written)s::timestamptz[])
       as dead (topic, partition, at_offset, value, cause, written_at)
