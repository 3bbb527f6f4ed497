-- name: users_anew
-- A chunk by the primary key. Another mark than before, so that a write under way is not taken for this one's.
with chunk as (
    select user_id
      from hark.history_user
     where user_id > %(after)s
     order by user_id
     limit %(limit)s
       for no key update
),
marked as (
    update hark.history_user u
       set projected = least(u.projected, -1) - 1, ahead_since = coalesce(u.ahead_since, %(now)s)
      from chunk
     where u.user_id = chunk.user_id
    returning 1
)
select max(user_id) as last, (select count(*) from marked) as marked from chunk

-- name: products_anew
with chunk as (
    select product_id
      from hark.product
     where product_id > %(after)s
     order by product_id
     limit %(limit)s
       for no key update
),
marked as (
    update hark.product p
       set projected = least(p.projected, -1) - 1
      from chunk
     where p.product_id = chunk.product_id
    returning 1
)
select max(product_id) as last, (select count(*) from marked) as marked from chunk

-- name: products_of_anew
-- Apart from the user: who holds a product waits for its buyers.
with locked as materialized (
    select product_id
      from hark.product
     where product_id in (select product_id from hark.fact where user_id = %(user)s)
     order by product_id
       for no key update
)
update hark.product p set projected = least(p.projected, -1) - 1 from locked where p.product_id = locked.product_id

-- name: user_anew
update hark.history_user
   set projected = least(projected, -1) - 1, ahead_since = coalesce(ahead_since, %(now)s)
 where user_id = %(user)s

-- name: waiting
select (select count(*) from hark.history_user where ahead_since is not null) as users,
       (select count(*) from hark.product where projected < version) as products

-- name: known_users
select user_id as id from hark.history_user where user_id = any (%(ids)s)

-- name: known_products
select product_id as id from hark.product where product_id = any (%(ids)s)
