-- name: put_segment
-- The members are replaced: whoever is not named any more leaves.
with given as (
    select distinct id from unnest(%(members)s::text[]) as named(id)
), kept as (
    insert into hark.segment as s (name, created_at, changed_at)
    values (%(segment)s, %(now)s, %(now)s)
        on conflict (name) do update set version = s.version + 1, changed_at = excluded.changed_at
    returning version
), gone as (
    delete from hark.segment_member m
     where m.segment = %(segment)s and m.recipient_id not in (select id from given)
), joined as (
    insert into hark.segment_member (recipient_id, segment)
    select id, %(segment)s from given order by id
        on conflict do nothing
)
select version from kept
