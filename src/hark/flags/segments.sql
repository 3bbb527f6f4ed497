-- name: make_incoming
create temp table segment_incoming (id text collate "C" not null)

-- name: drop_incoming
drop table if exists segment_incoming

-- name: copy_incoming
copy segment_incoming (id) from stdin

-- name: put_incoming
insert into segment_incoming (id) select id from unnest(%(ids)s::text[]) named(id)

-- name: put_internal
-- By confirmed addresses only: an address that nobody answered from could be anybody's.
insert into segment_incoming (id)
select id from unnest(%(ids)s::text[]) named(id)
union
select r.id
  from hark.recipient r
 where cardinality(%(domains)s::text[]) > 0 and r.confirmed
   and '@' || lower(split_part(r.address, '@', -1)) = any (%(domains)s::text[])

-- name: lock
-- Made if it is new, with version 0, which no reader ever sees: what follows in the transaction makes it 1.
insert into hark.segment as s (name, version, created_at, changed_at)
values (%(segment)s, 0, %(now)s, %(now)s)
    on conflict (name) do update set changed_at = s.changed_at
returning name, version, kind::text as kind, url, format, file_column, etag, internal, share, salt

-- name: held
select name, version, kind::text as kind, url, format, file_column, etag, internal, share, salt
  from hark.segment
 where name = %(segment)s
   for update

-- name: replace
with given as materialized (
    select distinct id from segment_incoming
), gone as (
    delete from hark.segment_member m
     where m.segment = %(segment)s and not exists (select from given g where g.id = m.recipient_id)
    returning 1
), joined as (
    insert into hark.segment_member (recipient_id, segment, since)
    select id, %(segment)s, %(now)s from given order by id
        on conflict do nothing
    returning 1
)
select (select count(*) from joined) as joined, (select count(*) from gone) as gone

-- name: add
with joined as (
    insert into hark.segment_member (recipient_id, segment, since)
    select distinct id, %(segment)s, %(now)s::timestamptz from segment_incoming order by id
        on conflict do nothing
    returning 1
)
select count(*) as joined, 0::bigint as gone from joined

-- name: remove
with gone as (
    delete from hark.segment_member m
     where m.segment = %(segment)s and m.recipient_id in (select id from segment_incoming)
    returning 1
)
select 0::bigint as joined, count(*) as gone from gone

-- name: settle
update hark.segment
   set version = version + 1, changed_at = %(now)s, members = members + %(joined)s - %(gone)s, kind = %(kind)s::hark.segment_kind,
       url = %(url)s, format = %(format)s, file_column = %(file_column)s, etag = %(etag)s, internal = %(internal)s,
       share = %(share)s, salt = %(salt)s, look_at = %(look_at)s,
       looked_at = case when %(look_at)s::timestamptz is null then null else %(now)s::timestamptz end, trouble = null
 where name = %(segment)s
returning version, members

-- name: raise_flags
-- In the order of their names, as everywhere where several are locked.
with used as (
    select f.name
      from hark.flag f join hark.flag_segment s on s.flag = f.name
     where s.segment = %(segment)s
     order by f.name
       for no key update of f
)
update hark.flag f
   set version = f.version + 1, changed_at = %(now)s
  from used
 where f.name = used.name
returning f.name, f.version

-- name: looked
-- It is what it was.
update hark.segment
   set etag = %(etag)s, look_at = %(look_at)s, trouble = null,
       looked_at = case when %(look_at)s::timestamptz is null then looked_at else %(now)s::timestamptz end
 where name = %(segment)s
returning version, members

-- name: drop
delete from hark.segment where name = %(segment)s and not exists (select from hark.flag_segment where segment = %(segment)s)

-- name: drop_members
delete from hark.segment_member where segment = %(segment)s
