-- name: known_user
select user_id as id from hark.history_user where user_id = any (%(ids)s)

-- name: known_product
select product_id as id from hark.product where product_id = any (%(ids)s)

-- name: known_category
-- Nothing leads there any more, or not yet; it is one of ours all the same.
select category_id as id from hark.product_category where category_id = any (%(ids)s)

-- name: known_store
-- A walk through all facts, for the few stores that nothing leads to.
select distinct store_id as id from hark.fact where store_id = any (%(ids)s)
