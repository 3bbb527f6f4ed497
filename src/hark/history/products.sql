-- name: unasked_products
select product_id as id from hark.product where asked_at is null order by product_id limit %(limit)s

-- name: unasked_categories
select category_id as id from hark.product_category where asked_at is null order by category_id limit %(limit)s

-- name: one_after_another
-- A statement of its own, before the one that keeps answers: that sees what whoever held the lock before has committed. Else
-- a product that comes into a category, while its hierarchy is learnt, would be seen by neither.
select pg_advisory_xact_lock(hashtext('hark.products'))

-- name: put_products
-- Of several answers about one product the last that says something. Its buyers are moved on only if its category is another.
with given as (
    select product_id,
           (array_agg(name order by place desc) filter (where name <> ''))[1] as name,
           (array_agg(category_id order by place desc) filter (where category_id <> ''))[1] as category_id
      from unnest(%(products)s::text[], %(names)s::text[], %(categories)s::text[]) with ordinality
           as given(product_id, name, category_id, place)
     group by product_id
),
noted as (
    insert into hark.product_category (category_id)
    select distinct category_id from given where category_id is not null order by category_id
        on conflict do nothing
),
locked as materialized (
    select product_id, name, category_id from hark.product
     where product_id = any (%(products)s)
     order by product_id
       for no key update
),
known as materialized (
    select g.product_id, coalesce(g.name, p.name) as name, coalesce(g.category_id, p.category_id) as category_id,
           coalesce(p.category_id <> g.category_id, g.category_id is not null) as recategorised,
           g.name is not null and p.name is distinct from g.name
           or g.category_id is not null and p.category_id is distinct from g.category_id as changed
      from given g
      left join locked p using (product_id)
),
written as (
    insert into hark.product as p (product_id, name, category_id, asked_at, asked_times, version, spread_from)
    select product_id, name, category_id, %(now)s, 1, changed::int, case when recategorised then '' end from known
     order by product_id
        on conflict (product_id) do update
           set name = coalesce(excluded.name, p.name), category_id = coalesce(excluded.category_id, p.category_id), asked_at = excluded.asked_at,
               asked_times = p.asked_times + 1, version = p.version + excluded.version,
               spread_from = coalesce(excluded.spread_from, p.spread_from)
)
select product_id from known where changed

-- name: put_categories
-- A hierarchy is the products' too. Of a category that is not there yet another one's answer may come first: it is not forgotten.
with given as (
    select category_id, max(hierarchy) filter (where hierarchy <> '{}') as hierarchy
      from (select answer ->> 'category_id' as category_id,
                   array(select jsonb_array_elements_text(answer -> 'hierarchy')) as hierarchy
              from jsonb_array_elements(%(answers)s::jsonb) answer) answers
     group by category_id
),
locked as materialized (
    select category_id, hierarchy from hark.product_category
     where category_id in (select category_id from given)
     order by category_id
       for no key update
),
known as materialized (
    select g.category_id, coalesce(g.hierarchy, c.hierarchy) as hierarchy,
           g.hierarchy is not null and c.hierarchy is distinct from g.hierarchy as changed
      from given g
      left join locked c using (category_id)
),
written as (
    insert into hark.product_category as c (category_id, hierarchy, asked_at, asked_times)
    select category_id, hierarchy, %(now)s, 1 from known
     order by category_id
        on conflict (category_id) do update
           set hierarchy = coalesce(excluded.hierarchy, c.hierarchy), asked_at = excluded.asked_at, asked_times = c.asked_times + 1
),
theirs as materialized (
    select product_id from hark.product
     where category_id in (select category_id from known where changed)
     order by product_id
       for no key update
)
update hark.product p set version = p.version + 1 from theirs where p.product_id = theirs.product_id

-- name: spreading
select product_id, spread_from
  from hark.product
 where spread_from is not null
 order by product_id
 limit 1
   for no key update skip locked

-- name: buyers
-- Of what is deleted, too: it may be in a graph that is behind, or restored, by the category that the product had.
select distinct user_id
  from hark.fact
 where product_id = %(product)s and user_id > %(after)s
 order by user_id
 limit %(limit)s

-- name: move_buyers
with moved as (
    update hark.history_user u
       set version = u.version + 1, changed_at = %(now)s, ahead_since = coalesce(u.ahead_since, %(now)s),
           recast_at = u.version + 1
     where u.user_id = any (%(users)s)
       and exists (select from hark.fact f where f.product_id = %(product)s and f.user_id = u.user_id)
    returning u.user_id, u.version
),
marked as (
    update hark.fact f
       set moved_at = m.version
      from moved m
     where f.product_id = %(product)s and f.user_id = m.user_id and not f.deleted
)
select user_id from moved

-- name: spread_on
update hark.product set spread_from = %(reached)s where product_id = %(product)s
