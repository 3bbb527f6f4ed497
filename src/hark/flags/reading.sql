-- name: versions
select name, version from hark.flag

-- name: flags
select name, version, is_on from hark.flag order by name

-- name: segments
select fs.flag, s.name, s.version, s.kind::text as kind, s.share, s.salt
  from hark.flag_segment fs join hark.segment s on s.name = fs.segment
 order by fs.flag, s.name

-- name: copy_members
copy (select recipient_id from hark.segment_member where segment = %(segment)s) to stdout

-- name: copy_enrolled
copy (select user_id from hark.enrolled where flag = %(flag)s and is_in) to stdout

-- name: moved
select user_id, is_in from hark.enrolled where flag = %(flag)s and version > %(version)s order by version limit %(limit)s
