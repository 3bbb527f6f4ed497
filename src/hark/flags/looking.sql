-- name: claim
-- Whose turn it is to be looked at; the next one is put off at once, so that two do not look at the same.
update hark.segment s
   set look_at = %(now)s + case s.kind when 'object' then %(objects)s::interval else %(internal)s::interval end
  from (select name from hark.segment where look_at <= %(now)s order by look_at limit 1 for update skip locked) due
 where s.name = due.name
returning s.name, s.version, s.kind::text as kind, s.url, s.format, s.file_column, s.etag, s.internal, s.share, s.salt

-- name: next
select min(look_at) as at from hark.segment where look_at is not null

-- name: trouble
update hark.segment set looked_at = %(now)s, trouble = %(trouble)s where name = %(segment)s

-- name: same
update hark.segment set looked_at = %(now)s, trouble = null where name = %(segment)s
