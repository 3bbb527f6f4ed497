-- name: starts_at
select starts_at from hark.history_window

-- name: roll
with rolled as (
    update hark.history_window set starts_at = %(start)s where starts_at < %(start)s returning starts_at
)
select coalesce((select starts_at from rolled), (select starts_at from hark.history_window)) as starts_at

-- name: left_behind
select user_id from hark.history_user where oldest_at < %(start)s order by oldest_at, user_id limit %(limit)s

-- name: move_on
with leaving as (
    select f.user_id, f.key
      from hark.history_user u
      join hark.fact f on f.user_id = u.user_id and f.occurred_at >= u.oldest_at and f.occurred_at < %(start)s and not f.deleted
     where u.user_id = any (%(users)s) and u.oldest_at < %(start)s
),
moved as (
    update hark.history_user u
       set oldest_at = (select min(f.occurred_at) from hark.fact f
                         where f.user_id = u.user_id and not f.deleted and f.occurred_at >= %(start)s),
           version = u.version + leaves.some::int,
           changed_at = case when leaves.some then %(now)s else u.changed_at end,
           ahead_since = case when leaves.some then coalesce(u.ahead_since, %(now)s) else u.ahead_since end
      from (select given.user_id, exists (select from leaving l where l.user_id = given.user_id) as some
              from unnest(%(users)s::text[]) as given(user_id)) leaves
     where u.user_id = leaves.user_id and u.oldest_at < %(start)s
    returning u.user_id, u.version
),
marked as (
    update hark.fact f
       set moved_at = m.version
      from leaving l
      join moved m on m.user_id = l.user_id
     where f.user_id = l.user_id and f.key = l.key
    returning 1
)
select count(*) as facts from marked
