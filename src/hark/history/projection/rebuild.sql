-- name: next_mark
-- Lower than all that are, so that what this rebuild marked is known from what others did, and from what was refused since.
select least((select min(projected) from hark.history_user where ahead_since is not null),
             (select min(projected) from hark.product where projected < version), -1) - 1 as mark

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
       set projected = least(u.projected - 1, %(mark)s), ahead_since = coalesce(u.ahead_since, %(now)s)
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
       set projected = least(p.projected - 1, %(mark)s)
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
update hark.product p set projected = least(p.projected - 1, %(mark)s) from locked where p.product_id = locked.product_id

-- name: user_anew
update hark.history_user
   set projected = least(projected - 1, %(mark)s), ahead_since = coalesce(ahead_since, %(now)s)
 where user_id = %(user)s

-- name: waiting
select (select count(*) from hark.history_user where ahead_since is not null and projected = %(mark)s) as users,
       (select count(*) from hark.product where projected < version and projected = %(mark)s) as products

-- name: left
-- Each refusal, as each other rebuild, sets a mark lower: `refused`. Of one user and their products, if one is named.
with behind as materialized (
    select 'user' as of, user_id as id, projected < %(mark)s as refused
      from hark.history_user
     where ahead_since is not null and projected <= %(mark)s and (%(user)s::text is null or user_id = %(user)s)
    union all
    select 'product', product_id, projected < %(mark)s
      from hark.product
     where projected < version and projected <= %(mark)s
       and (%(user)s::text is null or product_id in (select product_id from hark.fact where user_id = %(user)s))
)
select count(*) filter (where of = 'user') as users, count(*) filter (where of = 'product') as products,
       count(*) filter (where refused) as refused,
       array(select of || ' ' || id from behind where refused order by of desc, id limit %(limit)s) as whom
  from behind

-- name: known_users
select user_id as id from hark.history_user where user_id = any (%(ids)s)

-- name: known_products
select product_id as id from hark.product where product_id = any (%(ids)s)
