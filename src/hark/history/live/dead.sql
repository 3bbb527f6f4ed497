-- name: page
select id, group_name, topic, partition, at_offset, cause, written_at, died_at, tries, length(value) as bytes
  from hark.ingest_dead
 where id > %(after)s
   and (%(group)s::text is null or group_name = %(group)s)
   and (%(topic)s::text is null or topic = %(topic)s)
   and (%(cause)s::text is null or position(%(cause)s in cause) > 0)
   and (%(since)s::timestamptz is null or died_at >= %(since)s)
 order by id
 limit %(limit)s

-- name: show
select id, group_name, topic, partition, at_offset, cause, written_at, died_at, tries, value
  from hark.ingest_dead
 where id = %(id)s

-- name: ids
select id from hark.ingest_dead where id > %(after)s order by id limit %(limit)s

-- name: some
select id, topic, partition, at_offset, value, written_at from hark.ingest_dead where id = any (%(ids)s) order by id

-- name: retried
update hark.ingest_dead d
   set cause = again.cause, tries = d.tries + 1
  from unnest(%(ids)s::bigint[], %(causes)s::text[]) as again (id, cause)
 where d.id = again.id

-- name: held
-- Whoever comes second finds fewer than it read, and takes none of them.
select id from hark.ingest_dead where id = any (%(ids)s) order by id for update

-- name: drop
delete from hark.ingest_dead where id = any (%(ids)s)
