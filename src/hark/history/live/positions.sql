-- name: begin
insert into hark.ingest_position (group_name, topic, partition, position, end_position, seen_at)
select %(group)s, topic, partition, position, end_position, %(now)s
  from unnest(%(topics)s::text[], %(partitions)s::int[], %(positions)s::bigint[], %(ends)s::bigint[])
       as given (topic, partition, position, end_position)
    on conflict do nothing

-- name: move
-- Whoever does not find a position where it left it has been overtaken, and writes nothing.
update hark.ingest_position p
   set position = g.position, end_position = greatest(g.end_position, g.position), seen_at = %(now)s
  from unnest(%(topics)s::text[], %(partitions)s::int[], %(expected)s::bigint[], %(positions)s::bigint[], %(ends)s::bigint[])
       as g (topic, partition, expected, position, end_position)
 where p.group_name = %(group)s and p.topic = g.topic and p.partition = g.partition and p.position = g.expected

-- name: of_group
select topic, partition, position, end_position, seen_at
  from hark.ingest_position
 where group_name = %(group)s
 order by topic, partition

-- name: reached
select group_name, topic, partition, position
  from hark.ingest_position
 where group_name = any (%(groups)s)
