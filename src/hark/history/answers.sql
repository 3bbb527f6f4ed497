-- name: purchased
select user_id, key, receipt_id, product_id, product_name, category_id, category_hierarchy, store_id, amount_minor, currency,
       quantity, occurred_at
  from hark.purchased
 where user_id = any (%(users)s)
 order by user_id, occurred_at desc, key

-- name: shops_in
select user_id, category_id, category_hierarchy, purchases, quantity, totals, first_at, last_at
  from hark.shops_in
 where user_id = any (%(users)s)
 order by user_id, purchases desc, category_id

-- name: shops_at
select user_id, store_id, purchases, quantity, totals, first_at, last_at
  from hark.shops_at
 where user_id = any (%(users)s)
 order by user_id, purchases desc, store_id
