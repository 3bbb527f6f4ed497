-- name: plant
-- Behind Hark's back: no version moves on, and nothing of it is written down anywhere.
delete from hark.fact where user_id = %(user)s and key = %(key)s
