-- name: users
select user_id as id, version, projected as marked
  from hark.history_user
 where user_id > %(after)s
 order by user_id
 limit %(limit)s

-- name: products
select product_id as id, version, projected as marked
  from hark.product
 where product_id > %(after)s
 order by product_id
 limit %(limit)s

-- name: agree_users
-- Only if the mark is still what it was: a projector may have written and marked more meanwhile.
-- `locked`: in the order in which whoever records facts locks them, so that the two do not wait for each other.
with locked as materialized (
    select user_id from hark.history_user where user_id = any (%(ids)s::text[]) order by user_id for no key update
)
update hark.history_user u
   set projected = g.held,
       ahead_since = case when g.held < u.version then coalesce(u.ahead_since, %(now)s) end
  from unnest(%(ids)s::text[], %(marked)s::bigint[], %(held)s::bigint[]) as g(user_id, marked, held)
  join locked using (user_id)
 where u.user_id = g.user_id and u.projected = g.marked and g.held <= u.version

-- name: agree_products
with locked as materialized (
    select product_id from hark.product where product_id = any (%(ids)s::text[]) order by product_id for no key update
)
update hark.product p
   set projected = g.held
  from unnest(%(ids)s::text[], %(marked)s::bigint[], %(held)s::bigint[]) as g(product_id, marked, held)
  join locked using (product_id)
 where p.product_id = g.product_id and p.projected = g.marked and g.held <= p.version
