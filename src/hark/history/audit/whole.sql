-- name: standing
-- How many there are, too: whoever comes at version 0 moves no sum.
select u.many, u.versions, u.projected, w.starts_at
  from hark.history_window w
 cross join (select count(*) as many, coalesce(sum(version), 0)::bigint as versions,
                    coalesce(sum(projected), 0)::bigint as projected
               from (select version, projected from hark.history_user
                     union all
                     select version, projected from hark.product) each) u

-- name: refused
select (select count(*) from hark.fact_refused) as refused,
       coalesce(array_agg(user_id order by at desc), '{}') as users,
       coalesce(array_agg(key || ': it is ' || owner || '''s' order by at desc), '{}') as causes
  from (select user_id, key, owner, at from hark.fact_refused limit 5) a_few

-- name: brought
-- Facts that count, by who said them; 0 is the live stream. `alone`: nobody else did.
select said.run, count(*) as facts, count(*) filter (where said.alone) as alone
  from hark.fact f
 cross join hark.history_window w
 cross join lateral (
       select 0::bigint as run, f.runs = '{}' as alone where f.live
       union all
       select run, not f.live and cardinality(f.runs) = 1 from unnest(f.runs) as run) said
 where f.user_id = any (%(users)s) and not f.deleted and f.occurred_at >= w.starts_at
 group by said.run
