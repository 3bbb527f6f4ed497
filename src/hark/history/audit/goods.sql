-- name: page
select product_id as id, version, projected as marked, 1 as changes
  from hark.product
 where product_id > %(after)s
 order by product_id
 limit %(limit)s

-- name: goods
select p.product_id as id, p.version, p.projected as marked, p.projected < p.version as unsettled, p.name, p.category_id,
       c.hierarchy, p.asked_at is not null as asked
  from hark.product p
  left join hark.product_category c on c.category_id = p.category_id
 where p.product_id = any (%(products)s)
 order by p.product_id
