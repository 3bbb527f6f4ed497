-- name: lock
select user_id from hark.history_user where user_id = any (%(users)s) order by user_id for no key update
