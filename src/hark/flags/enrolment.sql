-- name: enrol
insert into hark.enrolled as e (user_id, flag, version, is_in, since, who)
select id, %(flag)s, %(version)s, true, %(now)s, %(who)s from unnest(%(users)s::text[]) as named(id) order by id
    on conflict (user_id, flag) do update
       set version = excluded.version, is_in = true, since = excluded.since, who = excluded.who
     where not e.is_in
returning user_id

-- name: withdraw
-- Locked in order, as when they were enrolled.
with mine as (
    select user_id, flag from hark.enrolled
     where flag = %(flag)s and user_id = any (%(users)s::text[]) and is_in
     order by user_id
       for update
)
update hark.enrolled e
   set version = %(version)s, is_in = false, since = %(now)s, who = %(who)s
  from mine
 where e.user_id = mine.user_id and e.flag = mine.flag
returning e.user_id

-- name: rise
update hark.flag set version = version + 1, enrolled = enrolled + %(more)s, changed_at = %(now)s where name = %(flag)s

-- name: ask_load
insert into hark.load_asked (user_id, flag, version, asked_by, asked_at)
select id, %(flag)s, %(version)s, %(who)s, %(now)s from unnest(%(users)s::text[]) as named(id) order by id
    on conflict (user_id) do update
       set flag = excluded.flag, version = excluded.version, asked_by = excluded.asked_by, asked_at = excluded.asked_at,
           backfill_id = null

-- name: ask_no_load
delete from hark.load_asked where user_id = any (%(users)s::text[]) and flag = %(flag)s and backfill_id is null

-- name: waiting
select user_id, flag, version, asked_by, asked_at
  from hark.load_asked
 where backfill_id is null
 order by asked_at, user_id
 limit %(limit)s

-- name: take
-- Only as they were when they were looked at: who was enrolled anew meanwhile waits for a later version.
update hark.load_asked a
   set backfill_id = %(backfill)s
  from unnest(%(users)s::text[], %(versions)s::bigint[]) as seen(user_id, version)
 where a.user_id = seen.user_id and a.version = seen.version and a.backfill_id is null
