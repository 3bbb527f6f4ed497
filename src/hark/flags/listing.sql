-- name: flags
select f.name, f.version, f.is_on, f.enrolled, f.created_at, f.changed_at,
       array(select fs.segment from hark.flag_segment fs where fs.flag = f.name order by fs.segment) as segments
  from hark.flag f
 where f.name > %(after)s
   and (%(is_on)s::boolean is null or f.is_on = %(is_on)s)
   and (%(segment)s::text is null
        or exists (select from hark.flag_segment fs where fs.flag = f.name and fs.segment = %(segment)s))
 order by f.name
 limit %(limit)s

-- name: flag
select f.name, f.version, f.is_on, f.enrolled, f.created_at, f.changed_at,
       array(select fs.segment from hark.flag_segment fs where fs.flag = f.name order by fs.segment) as segments
  from hark.flag f
 where f.name = %(flag)s

-- name: segments
select s.name, s.version, s.kind::text as kind, s.members, s.url, s.format, s.file_column, s.etag, s.internal, s.share,
       fs.since, s.changed_at, s.looked_at, s.trouble
  from hark.flag_segment fs join hark.segment s on s.name = fs.segment
 where fs.flag = %(flag)s
 order by s.name

-- name: segment_members
select m.recipient_id as user_id, m.since
  from hark.segment_member m
 where m.segment = %(segment)s and m.recipient_id > %(after)s
 order by m.recipient_id
 limit %(limit)s

-- name: rolled_members
select r.id as user_id, null::timestamptz as since
  from hark.recipient r, hark.segment s
 where s.name = %(segment)s and s.kind = 'rollout' and r.id > %(after)s
   and hark.rolled(s.salt, r.id) * 100000 < s.share * 4294967296
 order by r.id
 limit %(limit)s

-- name: members
-- Whoever a flag lets in, and since when without a gap, as far as that is known: each part gives its first ones only,
-- which all of the first ones are among. A rollout is of the recipients that are known.
select user_id, min(since) as since
  from (
    (select e.user_id, greatest(e.since, f.on_since) as since
       from hark.flag f join hark.enrolled e on e.flag = f.name and e.is_in
      where f.name = %(flag)s and f.is_on and e.user_id > %(after)s
      order by e.user_id
      limit %(limit)s)
    union all
    select m.recipient_id, greatest(m.since, fs.since, f.on_since)
      from hark.flag f
      join hark.flag_segment fs on fs.flag = f.name
     cross join lateral (
        select m.recipient_id, m.since
          from hark.segment_member m
         where m.segment = fs.segment and m.recipient_id > %(after)s
         order by m.recipient_id
         limit %(limit)s) m
     where f.name = %(flag)s and f.is_on
    union all
    select r.id, greatest(s.changed_at, fs.since, f.on_since)
      from hark.flag f
      join hark.flag_segment fs on fs.flag = f.name
      join hark.segment s on s.name = fs.segment and s.kind = 'rollout'
     cross join lateral (
        select r.id
          from hark.recipient r
         where r.id > %(after)s and hark.rolled(s.salt, r.id) * 100000 < s.share * 4294967296
         order by r.id
         limit %(limit)s) r
     where f.name = %(flag)s and f.is_on
  ) let_in
 group by user_id
 order by user_id
 limit %(limit)s

-- name: check
-- What `hark.flags.deciding` says, for many users and flags at once.
with asked as (
    select f.name as flag, f.version, f.is_on, named.id as user_id
      from hark.flag f, unnest(%(users)s::text[]) as named(id)
     where %(flag)s::text is null or f.name = %(flag)s
)
select a.user_id, a.flag, a.version,
       case when not a.is_on then 'off'
            when e.user_id is not null then 'enrolled'
            when s.segment is not null then 'segment'
            else 'in_none' end as because,
       case when a.is_on and e.user_id is null then s.segment end as segment
  from asked a
  left join hark.enrolled e on e.user_id = a.user_id and e.flag = a.flag and e.is_in
  left join lateral (
    select fs.segment
      from hark.flag_segment fs join hark.segment s on s.name = fs.segment
     where fs.flag = a.flag
       and (exists (select from hark.segment_member m where m.recipient_id = a.user_id and m.segment = fs.segment)
            or s.kind = 'rollout' and hark.rolled(s.salt, a.user_id) * 100000 < s.share * 4294967296)
     order by fs.segment
     limit 1) s on true
 order by a.flag, a.user_id
