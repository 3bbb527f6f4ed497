-- name: page
-- By the primary key. `changes`: how many facts, counted no further than `cap`.
select u.user_id as id, u.version, u.projected as marked,
       (select count(*)::int from (select from hark.fact f where f.user_id = u.user_id limit %(cap)s) counted) as changes
  from hark.history_user u
 where u.user_id > %(after)s
 order by u.user_id
 limit %(limit)s

-- name: page_of_run
-- Whom a run touched: who has facts that it said, or of whom it saw that there are none. `offset 0` asks for one user after the
-- other by their key, so that a page ends where it is full; else each page would read all facts there are.
select u.user_id as id, u.version, u.projected as marked, 1 as changes
  from hark.history_user u
 where u.user_id > %(after)s
   and (exists (select from hark.fact f where f.user_id = u.user_id and %(run)s = any (f.runs) offset 0)
        or exists (select from hark.fact_snapshot s where s.user_id = u.user_id and s.run = %(run)s offset 0))
 order by u.user_id
 limit %(limit)s

-- name: buyers
-- One statement, so that facts, sums and version are of one moment. By the views that answer without a graph, not by what the
-- projection computes: that is to be held against something else. `unsettled`: what is known of them is about to change.
with asked as materialized (
    select u.* from hark.history_user u where u.user_id = any (%(users)s)
),
lines as (
    select user_id, json_agg(json_build_array(
               key, product_id, store_id, amount_minor, currency, quantity::float8,
               (extract(epoch from occurred_at) * 1000000)::bigint, version, receipt_id,
               case kind when 'order' then substr(key, 7) end)) as rows
      from hark.purchased
     where user_id = any (%(users)s)
     group by user_id
),
ins as (
    select user_id, json_agg(json_build_array(
               category_id, purchases, quantity::float8, (extract(epoch from first_at) * 1000000)::bigint,
               (extract(epoch from last_at) * 1000000)::bigint, totals)) as rows
      from hark.shops_in
     where user_id = any (%(users)s)
     group by user_id
),
ats as (
    select user_id, json_agg(json_build_array(
               store_id, purchases, quantity::float8, (extract(epoch from first_at) * 1000000)::bigint,
               (extract(epoch from last_at) * 1000000)::bigint, totals)) as rows
      from hark.shops_at
     where user_id = any (%(users)s)
     group by user_id
),
own as (
    select f.user_id, count(*) as facts, count(*) filter (where f.deleted) as gone,
           count(*) filter (where not f.deleted and f.occurred_at < w.starts_at) as before,
           array_agg(f.key order by f.key) filter (where not f.deleted and f.occurred_at > %(future)s) as future,
           array_agg(f.key order by f.key) filter (where f.moved_at > a.version) as beyond,
           bool_or(not f.deleted and f.occurred_at >= w.starts_at
                   and (a.oldest_at is null or f.occurred_at < a.oldest_at)) as unrolled,
           bool_or(p.spread_from is not null) as spreading
      from asked a
     cross join hark.history_window w
      join hark.fact f on f.user_id = a.user_id
      left join hark.product p on p.product_id = f.product_id
     where f.user_id = any (%(users)s)
     group by f.user_id
)
select a.user_id as id, a.version, a.projected as marked,
       (extract(epoch from a.changed_at) * 1000000)::bigint as changed_us, a.ahead_since, a.last_loaded_at,
       a.projected < a.version or coalesce(a.oldest_at < w.starts_at, false) or coalesce(o.spreading, false) as unsettled,
       coalesce(o.facts, 0) as facts, coalesce(o.gone, 0) as gone, coalesce(o.before, 0) as before,
       coalesce(o.future, '{}') as future, coalesce(o.beyond, '{}') as beyond, coalesce(o.unrolled, false) as unrolled,
       coalesce(l.rows, '[]') as lines, coalesce(i.rows, '[]') as ins, coalesce(s.rows, '[]') as ats
  from asked a
 cross join hark.history_window w
  left join lines l on l.user_id = a.user_id
  left join ins i on i.user_id = a.user_id
  left join ats s on s.user_id = a.user_id
  left join own o on o.user_id = a.user_id
 order by a.user_id

-- name: whereabouts
-- What the facts know of edges that should not be there.
select f.key, f.user_id as owner, f.deleted, f.version, f.occurred_at < w.starts_at as before
  from hark.fact f
 cross join hark.history_window w
 where f.key = any (%(keys)s)
