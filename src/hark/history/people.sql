-- name: ahead
select user_id, version, projected, changed_at, ahead_since
  from hark.history_user
 where projected < version
 order by ahead_since, user_id
 limit %(limit)s

-- name: mark
-- What moved on since is ahead since its last move, at the earliest.
update hark.history_user u
   set projected = m.version, ahead_since = case when u.version > m.version then u.changed_at end
  from unnest(%(users)s::text[], %(versions)s::bigint[]) as m(user_id, version)
 where u.user_id = m.user_id and u.projected < m.version and u.version >= m.version

-- name: lower
update hark.history_user u
   set projected = l.held, ahead_since = coalesce(u.ahead_since, %(now)s)
  from unnest(%(users)s::text[], %(marked)s::bigint[], %(held)s::bigint[]) as l(user_id, marked, held)
 where u.user_id = l.user_id and u.projected = l.marked and l.held < l.marked

-- name: lock
select user_id from hark.history_user where user_id = any (%(users)s) order by user_id for no key update
