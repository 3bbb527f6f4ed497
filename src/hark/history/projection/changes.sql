-- name: users_ahead
-- Who waits longest comes first. `changes`, counted no further than `cap`, says how much there is to send.
select u.user_id as id, u.version, u.projected as marked,
       (select count(*)::int
          from (select from hark.fact f where f.user_id = u.user_id and f.moved_at > u.projected limit %(cap)s) counted)
           as changes
  from (select user_id, version, projected, ahead_since
          from hark.history_user
         where ahead_since is not null
         order by ahead_since, user_id
         limit %(limit)s) u
 order by u.ahead_since, u.user_id

-- name: products_ahead
select product_id as id, version, projected as marked, 1 as changes
  from hark.product
 where projected < version
 order by product_id
 limit %(limit)s

-- name: users
-- One statement, so that lines, sums and version are of one moment; one row, of what `sending.py` names: arrays, one a column.
-- What is older than the window counts as gone. Only those sums are sent that what changed is part of; `anew`: all, where a
-- purchase may have left one that it does not name any more.
with asked as materialized (
    select row_number() over (order by u.user_id)::int - 1 as place, u.user_id, a.was, a.whole, u.version, u.changed_at,
           a.whole or u.recast_at > a.was as anew
      from unnest(%(ids)s::text[], %(was)s::bigint[], %(whole)s::boolean[]) as a(user_id, was, whole)
      join hark.history_user u on u.user_id = a.user_id
),
mine as materialized (
    select a.place, a.whole, a.anew, f.key, f.kind, f.product_id, p.category_id, f.store_id, f.amount_minor, f.currency,
           f.quantity, f.occurred_at, f.version, a.whole or f.moved_at > a.was as changed,
           a.anew or f.moved_at > a.was as touches,
           not f.deleted and f.occurred_at >= w.starts_at as counts
      from asked a
     cross join hark.history_window w
      join hark.fact f on f.user_id = a.user_id
      left join hark.product p on p.product_id = f.product_id
),
by_currency as (
    select of, place, id, currency, bool_or(anew) as anew, bool_or(touches) as touched, count(*) filter (where counts) as count,
           sum(quantity) filter (where counts) as quantity, sum(amount_minor) filter (where counts) as total,
           min(occurred_at) filter (where counts) as first_at, max(occurred_at) filter (where counts) as last_at
      from mine
     cross join lateral (values ('category', category_id), ('store', store_id)) as led(of, id)
     where id is not null
     group by of, place, id, currency
),
summed as (
    select of, place, id, bool_or(anew) as anew, sum(count)::bigint as count, sum(quantity)::float8 as quantity,
           min(first_at) as first_at, max(last_at) as last_at,
           coalesce(string_agg(currency, '' order by currency) filter (where total is not null), '') as currencies,
           -- A sum past what the graph can hold stops there: 92 quadrillion of a currency's units.
           coalesce(string_agg(least(greatest(total, -9223372036854775808), 9223372036854775807)::text, ' '
                               order by currency) filter (where total is not null), '') as totals
      from by_currency
     group by of, place, id
    having bool_or(touched)
),
sums as (
    select of,
           row(array_agg(place), array_agg(id), array_agg(count), array_agg(quantity),
               array_agg(date_part('epoch', date_trunc('second', first_at))::bigint),
               array_agg(date_part('microseconds', first_at)::int %% 1000000 * 1000),
               array_agg(date_part('epoch', date_trunc('second', last_at))::bigint),
               array_agg(date_part('microseconds', last_at)::int %% 1000000 * 1000),
               array_agg(currencies), array_agg(totals)) as columns
      from summed
     where count > 0
     group by of
),
touched as (
    select of, row(array_agg(place), array_agg(id)) as columns
      from summed
     where not anew
     group by of
),
nothing as (
    select row(null, null) as touched, row(null, null, null, null, null, null, null, null, null, null) as sums
)
select (select row(array_agg(user_id order by place), array_agg(was order by place), array_agg(version order by place),
                   array_agg(whole order by place), array_agg(anew order by place),
                   array_agg(date_part('epoch', date_trunc('second', changed_at))::bigint order by place),
                   array_agg(date_part('microseconds', changed_at)::int %% 1000000 * 1000 order by place))
          from asked) as users,
       (select row(array_agg(place), array_agg(key)) from mine where changed and not whole) as changed,
       (select row(array_agg(place), array_agg(product_id), array_agg(key), array_agg(store_id), array_agg(amount_minor),
                   array_agg(currency), array_agg(quantity::float8),
                   array_agg(date_part('epoch', date_trunc('second', occurred_at))::bigint),
                   array_agg(date_part('microseconds', occurred_at)::int %% 1000000 * 1000),
                   array_agg(version),
                   array_agg(case kind when 'receipt' then substr(key, 9, length(key) - 8 - strpos(reverse(key), ':')) end),
                   array_agg(case kind when 'order' then substr(key, 7) end))
          from mine
         where changed and counts) as bought,
       coalesce((select columns from sums where of = 'category'), nothing.sums) as categories,
       coalesce((select columns from sums where of = 'store'), nothing.sums) as stores,
       coalesce((select columns from touched where of = 'category'), nothing.touched) as touched_categories,
       coalesce((select columns from touched where of = 'store'), nothing.touched) as touched_stores
  from nothing

-- name: products
select p.product_id as id, a.was, p.version, p.name, p.category_id, c.hierarchy,
       case when p.category_id is null then '{}' else array[p.category_id] end as categories
  from unnest(%(ids)s::text[], %(was)s::bigint[]) as a(product_id, was)
  join hark.product p on p.product_id = a.product_id
  left join hark.product_category c on c.category_id = p.category_id
 order by p.product_id

-- name: mark_users
-- Only if the mark is still what it was: whoever moved it meanwhile (a sweep, a rebuild, another projector) knows better.
-- Of who was there before it was kept (migration 0032), any version until now may be the one that was recast.
-- `locked`: in the order in which whoever records facts locks them, so that the two do not wait for each other.
with locked as materialized (
    select user_id from hark.history_user where user_id = any (%(ids)s::text[]) order by user_id for no key update
)
update hark.history_user u
   set projected = g.version, ahead_since = case when g.version < u.version then u.changed_at end,
       recast_at = least(u.recast_at, u.version)
  from unnest(%(ids)s::text[], %(marked)s::bigint[], %(versions)s::bigint[]) as g(user_id, marked, version)
  join locked using (user_id)
 where u.user_id = g.user_id and u.projected = g.marked

-- name: mark_products
-- `locked`: as whoever keeps what is known of products locks them; so here and wherever else.
with locked as materialized (
    select product_id from hark.product where product_id = any (%(ids)s::text[]) order by product_id for no key update
)
update hark.product p
   set projected = g.version
  from unnest(%(ids)s::text[], %(marked)s::bigint[], %(versions)s::bigint[]) as g(product_id, marked, version)
  join locked using (product_id)
 where p.product_id = g.product_id and p.projected = g.marked

-- name: overtake_users
-- The graph is ahead of the facts: these were restored from a backup. What it holds is of a history that is no more.
with locked as materialized (
    select user_id from hark.history_user where user_id = any (%(ids)s::text[]) order by user_id for no key update
)
update hark.history_user u
   set version = g.version + 1, projected = least(u.projected, -1) - 1, ahead_since = coalesce(u.ahead_since, %(now)s), changed_at = %(now)s
  from unnest(%(ids)s::text[], %(versions)s::bigint[]) as g(user_id, version)
  join locked using (user_id)
 where u.user_id = g.user_id and u.version < g.version
returning u.user_id as id, u.projected as marked

-- name: overtake_products
with locked as materialized (
    select product_id from hark.product where product_id = any (%(ids)s::text[]) order by product_id for no key update
)
update hark.product p
   set version = g.version + 1, projected = least(p.projected, -1) - 1
  from unnest(%(ids)s::text[], %(versions)s::bigint[]) as g(product_id, version)
  join locked using (product_id)
 where p.product_id = g.product_id and p.version < g.version
returning p.product_id as id, p.projected as marked

-- name: put_back_user
-- To the end of the queue: others shall not wait for one whom the graph refuses. Who is to be written anew is marked so once
-- more: whoever said so sees by that, wherever it was refused.
update hark.history_user
   set ahead_since = %(now)s, projected = case when projected < -1 then projected - 1 else projected end
 where user_id = %(id)s and projected < version

-- name: put_back_product
update hark.product set projected = projected - 1 where product_id = %(id)s and projected < -1
