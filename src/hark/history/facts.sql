-- name: make_table
-- What is given lies in a temporary table of the connection; it is made once, and empty whenever a transaction ends.
create temp table if not exists fact_given (
    user_id text collate "C" not null, key text collate "C" not null, kind hark.fact_kind not null,
    product_id text collate "C", store_id text collate "C", amount_minor bigint, currency text collate "C",
    quantity numeric(12, 3), occurred_at timestamptz, version bigint not null, deleted boolean not null,
    receipt text collate "C"
) on commit delete rows

-- name: copy_facts
copy fact_given from stdin with (null '')

-- name: empty_table
-- Of a batch before in the same transaction.
delete from fact_given

-- name: know_users
-- With all that stays as it is when they are moved on, so that no index is written then. Not prepared, as all that is asked
-- by these arrays: planned for good while there are few users, each user there is would be looked for in the array.
with strangers as materialized (
    select user_id from unnest(%(users)s::text[]) as given (user_id)
    except
    select user_id from hark.history_user where user_id = any (%(users)s::text[])
)
insert into hark.history_user (user_id, changed_at, ahead_since, oldest_at, recast_at)
select s.user_id, %(now)s, %(now)s, min(g.occurred_at) filter (where not g.deleted), 0
  from strangers s
  left join fact_given g on g.user_id = s.user_id
 group by s.user_id
 order by s.user_id
    on conflict do nothing

-- name: lock_given
-- Facts of a user change only under this lock. All in the same order, so nobody waits for each other; a statement of its own,
-- so that the next one sees whatever was committed while this one waited.
with locked as materialized (
    select user_id from hark.history_user where user_id = any (%(users)s::text[]) order by user_id for no key update
)
select count(*) as locked from locked

-- name: record
-- Planned anew each time, and in such a manner that it does not matter how wrongly the planner counts: nothing is joined to
-- rows that are written here, and what is seldom needed lies behind a question that is asked once.
with loads as materialized (
    select user_id collate "C" as user_id, kind, since, version
      from unnest(%(load_users)s::text[], %(load_kinds)s::hark.fact_kind[], %(load_since)s::timestamptz[], %(load_versions)s::bigint[])
           as given (user_id, kind, since, version)
),
claimed as materialized (
    -- Only if a key is there twice, else `plain`: of each key and user the highest word. A new key that two users claim at once
    -- is the `first` one's; one that is known is its owner's.
    select g.*, row_number() over same_key as place, first_value(g.user_id) over same_key as first_user
      from fact_given g
      left join hark.fact f on f.key = g.key
      left join unnest(%(contested)s::text[], %(first)s::text[]) as c (key, user_id) on c.key = g.key
     where not %(plain)s
    window same_key as (
        partition by g.key
            order by g.user_id is not distinct from f.user_id desc, g.user_id is not distinct from c.user_id desc,
                     g.user_id, g.version desc, g.deleted desc,
                     g.occurred_at desc nulls last, g.product_id desc nulls last, g.store_id desc nulls last,
                     g.amount_minor desc nulls last, g.currency desc nulls last, g.quantity desc nulls last,
                     g.receipt desc nulls last)
),
words as not materialized (
    select * from fact_given where %(plain)s
    union all
    select user_id, key, kind, product_id, store_id, amount_minor, currency, quantity, occurred_at, version, deleted, receipt
      from claimed
     where place = 1
),
users as materialized (
    -- Nobody else moves them on: they are locked.
    select user_id, version + 1 as next from hark.history_user where user_id = any (%(users)s::text[])
),
receipts as materialized (
    select r.user_id, r.receipt, r.version, r.lowest, u.next
      from (select user_id, receipt, max(version) as version, min(version) as lowest
              from fact_given
             where receipt is not null
             group by user_id, receipt) r
      join users u on u.user_id = r.user_id
),
siblings as materialized (
    -- The lines of these receipts that are known.
    select f.user_id, r.receipt, r.version as said, r.next, f.key, f.version, f.deleted, f.whole, f.occurred_at
      from receipts r
      join hark.fact f on f.user_id = r.user_id and f.key >= r.receipt || ':' and f.key < r.receipt || ';'
),
held as materialized (
    -- The highest version in which a receipt was whole before.
    select user_id, receipt, max(version) as version from siblings where whole group by user_id, receipt
),
loaded as materialized (
    -- What loads have seen of these users; but not where one that is as new is given now, for it says itself what it lacks.
    select s.user_id, s.kind, s.since, s.version
      from hark.fact_snapshot s
     where s.user_id = any (%(users)s::text[])
       and not exists (select from loads l
                        where l.user_id = s.user_id and l.kind = s.kind and l.version >= s.version)
),
unseen as materialized (
    -- What a load was seen without, in this version or a later one.
    select distinct w.key
      from loaded s
      join words w on w.user_id = s.user_id and w.kind = s.kind and w.occurred_at >= s.since and w.version <= s.version
),
known as materialized (
    -- Looked up all at once: in a third of the time that one after the other takes.
    select user_id, key, product_id, store_id, amount_minor, currency, quantity, occurred_at, version, deleted, whole, live, runs
      from hark.fact
     where key = any (array(select key from words))
),
given as (
    select w.*, u.next, f.user_id as owner, f.version as was, f.deleted as was_deleted, f.live as was_live, f.runs as was_runs,
           f.product_id is distinct from coalesce(w.product_id, f.product_id)
           or f.store_id is distinct from coalesce(w.store_id, case when w.deleted then f.store_id end) as leaves_another,
           case when f.user_id is null or w.version > f.version then true
                when w.version < f.version then false
                -- `corrects`: a forced load's word, of whatever its row says, over what no more than loads have said.
                when %(corrects)s::boolean and not f.live
                then w.deleted <> f.deleted
                     or not w.deleted
                        and (w.occurred_at, w.product_id, w.store_id, w.amount_minor, w.currency, w.quantity)
                            is distinct from (f.occurred_at, f.product_id, f.store_id, f.amount_minor, f.currency, f.quantity)
                else (w.deleted, coalesce(w.occurred_at, '-infinity'), coalesce(w.product_id, ''), coalesce(w.store_id, ''),
                      coalesce(w.amount_minor, -9223372036854775808), coalesce(w.currency, ''),
                      coalesce(w.quantity, -1000000000), w.receipt is not null)
                   > (f.deleted, coalesce(f.occurred_at, '-infinity'), coalesce(f.product_id, ''), coalesce(f.store_id, ''),
                      coalesce(f.amount_minor, -9223372036854775808), coalesce(f.currency, ''),
                      coalesce(f.quantity, -1000000000), f.whole)
           end as wins
      from words w
      join users u on u.user_id = w.user_id
      left join known f on f.key = w.key
),
fated as materialized (
    -- What was never heard of is old news, if a load or its own receipt was seen without it in a later version. Not so what
    -- an undo took back: of it nothing is known but what was said since, which is in its own row.
    select g.*,
           case when g.owner <> g.user_id then 'refused'
                when not g.wins then 'same'
                when g.deleted then case when g.owner is null then 'new' else 'changed' end
                when (g.owner is null or g.was_deleted and g.was >= 0) and u.key is not null then 'stale'
                when g.receipt is not null
                 and (r.version > g.version or (g.owner is null or g.was >= 0) and h.version > g.version) then 'stale'
                when g.owner is null then 'new'
                else 'changed' end as fate
      from given g
      left join unseen u on u.key = g.key
      left join receipts r on r.user_id = g.user_id and r.receipt = g.receipt and r.lowest < r.version
      left join held h on h.user_id = g.user_id and h.receipt = g.receipt
),
tally as materialized (
    -- What is seldom there is looked for once, and not by each of those who would have to do with it.
    select count(*) as given,
           count(*) filter (where fate = 'new') as new, count(*) filter (where fate = 'changed') as changed,
           count(*) filter (where fate = 'same') as same, count(*) filter (where fate = 'stale') as stale,
           count(*) filter (where fate = 'refused') as refused
      from fated
),
gone as materialized (
    select user_id, key, max(version) as version, bool_or(whole) as whole, bool_or(shown) as shown, min(occurred_at) as oldest_at,
           max(next) as next
      from (
        select f.user_id, f.key, s.version, false as whole, not f.deleted as shown, f.occurred_at, u.next
          from loads s
          join users u on u.user_id = s.user_id
         -- `offset`, so that it stays a look for each load given: joined, all facts of everybody would be read for none.
         cross join lateral (
             select user_id, key, deleted, occurred_at
               from hark.fact
              where user_id = s.user_id and kind = s.kind and occurred_at >= s.since and version <= s.version
                and (not deleted or version < 0)
             offset 0) f
         where not exists (select from fact_given g where g.user_id = f.user_id and g.key = f.key)
        union all
        select f.user_id, f.key, f.said, true, not f.deleted, f.occurred_at, f.next
          from siblings f
         where f.version < f.said and (not f.deleted or f.version < 0)
           and not exists (select from fated c
                            where c.user_id = f.user_id and c.key = f.key and c.fate in ('new', 'changed'))
      ) lacked
     group by user_id, key
),
moved as (
    -- A deletion of what was deleted moves nobody; but if it speaks of another product, what was of it before is found no more.
    update hark.history_user u
       set version = u.version + m.moves::int,
           changed_at = case when m.moves then %(now)s else u.changed_at end,
           ahead_since = case when m.moves then coalesce(u.ahead_since, %(now)s) else u.ahead_since end,
           oldest_at = least(u.oldest_at, m.oldest_at),
           recast_at = case when m.recasts then u.version + m.moves::int else u.recast_at end
      from (select user_id, min(oldest_at) as oldest_at, bool_or(moves) as moves, bool_or(recasts) as recasts
              from (select user_id, case when not deleted then occurred_at end as oldest_at,
                           fate = 'new' and not deleted or fate = 'changed' and not (deleted and was_deleted) as moves,
                           fate = 'changed' and leaves_another as recasts
                      from fated
                     where fate in ('new', 'changed')
                    union all
                    select user_id, null, true, false from gone where shown) changed
             group by user_id
            having bool_or(moves or recasts)) m
     where u.user_id = m.user_id
    returning u.user_id, u.version, m.moves
),
inserted as (
    -- In the order of their keys, so that two users who claim each other's do not wait for each other.
    insert into hark.fact (user_id, key, kind, product_id, store_id, amount_minor, currency, quantity, occurred_at, version,
                           deleted, whole, live, runs, moved_at)
    select c.user_id, c.key, c.kind, c.product_id, c.store_id, c.amount_minor, c.currency, c.quantity, c.occurred_at, c.version,
           c.deleted, c.receipt is not null, %(live)s::boolean,
           case when %(run)s::bigint is null then '{}' else array[%(run)s::bigint] end,
           case when c.deleted then 0 else c.next end
      from fated c
     where c.fate = 'new'
     order by c.key
),
updated as (
    -- A deletion that says no more than that leaves what was known of it.
    update hark.fact f
       set product_id = coalesce(c.product_id, f.product_id), store_id = coalesce(c.store_id, case when c.deleted then f.store_id end),
           amount_minor = case when c.deleted then f.amount_minor else c.amount_minor end,
           currency = case when c.deleted then f.currency else c.currency end,
           quantity = coalesce(c.quantity, f.quantity), occurred_at = coalesce(c.occurred_at, f.occurred_at),
           version = c.version, deleted = c.deleted, whole = c.receipt is not null,
           live = f.live or %(live)s,
           runs = case when %(run)s = any (f.runs) or %(live)s then f.runs else f.runs || %(run)s::bigint end,
           moved_at = case when c.deleted and f.deleted then f.moved_at else c.next end
      from fated c
     where (select changed from tally) > 0
       and c.fate = 'changed' and f.user_id = c.user_id and f.key = c.key
),
touched as (
    -- Who else says so: an undo leaves what others said as well.
    update hark.fact f
       set live = f.live or %(live)s, runs = case when %(live)s then f.runs else f.runs || %(run)s::bigint end
      from fated c
     where (select same + stale from tally) > 0
       and c.fate in ('same', 'stale') and c.owner = c.user_id and f.user_id = c.user_id and f.key = c.key
       and case when %(live)s then not c.was_live else %(run)s <> all (c.was_runs) end
       and not exists (select from gone g where g.user_id = f.user_id and g.key = f.key)
),
buried as (
    update hark.fact f
       set version = g.version, deleted = true, whole = g.whole,
           moved_at = case when g.shown then g.next else f.moved_at end
      from gone g
     where f.user_id = g.user_id and f.key = g.key
),
refused as (
    insert into hark.fact_refused (user_id, key, version, owner, fact, run, at)
    select distinct on (user_id, key, version) user_id, key, version, owner, fact, %(run)s::bigint, %(now)s
      from (select c.user_id, c.key, c.version, c.owner, to_jsonb(g) as fact
              from fated c
              join fact_given g on g.user_id = c.user_id and g.key = c.key and g.version = c.version
             where c.fate = 'refused' and (select refused from tally) > 0
            union all
            select r.user_id, r.key, r.version, c.owner, to_jsonb(g)
              from claimed r
              join (select key, coalesce(owner, user_id) as owner from fated) c on c.key = r.key
              join fact_given g on g.user_id = r.user_id and g.key = r.key and g.version = r.version
             where r.user_id <> r.first_user and r.user_id <> c.owner and not %(plain)s) foreign_ones
        on conflict do nothing
    returning 1
),
bought as materialized (
    select distinct product_id from fated where fate in ('new', 'changed') and product_id is not null
),
noted as (
    insert into hark.product (product_id)
    select product_id from bought
    except
    select product_id from hark.product where product_id = any (array(select product_id from bought))
     order by product_id
        on conflict do nothing
),
kept as (
    insert into hark.fact_snapshot as s (user_id, kind, version, since, run, at)
    select user_id, kind, version, min(since), %(run)s::bigint, %(now)s from loads
     group by user_id, kind, version
     order by user_id, kind, version
        on conflict (user_id, kind, version) do update set since = least(s.since, excluded.since)
),
superseded as (
    -- A later load that reaches as far back, or over all that counts, says all that an earlier one did.
    delete from hark.fact_snapshot s
     using loads n, hark.history_window w
     where s.user_id = n.user_id and s.kind = n.kind and s.version < n.version
       and n.since <= greatest(s.since, w.starts_at)
),
ordered as (
    select array_agg(user_id) as users, array_agg(version) as versions
      from (select user_id, version from moved where moves order by user_id) in_order
)
select given, new, changed, same, stale,
       (select count(*) from gone where shown) as gone, (select count(*) from refused) as refused,
       coalesce((select users from ordered), '{}') as users, coalesce((select versions from ordered), '{}') as versions
  from tally

-- name: undo
with said as (
    select user_id, key, array_remove(runs, %(run)s::bigint) as others,
           not live and not deleted and cardinality(array_remove(runs, %(run)s::bigint)) = 0 as taken
      from hark.fact
     where user_id = any (%(users)s) and %(run)s = any (runs)
),
moved as (
    update hark.history_user u
       set version = u.version + 1, changed_at = %(now)s, ahead_since = coalesce(u.ahead_since, %(now)s)
      from (select distinct user_id from said where taken) m
     where u.user_id = m.user_id
    returning u.user_id, u.version
),
undone as (
    update hark.fact f
       set runs = s.others, deleted = f.deleted or s.taken, version = case when s.taken then -1 else f.version end,
           whole = f.whole and not s.taken, moved_at = case when s.taken then m.version else f.moved_at end
      from said s
      left join moved m on m.user_id = s.user_id
     where f.user_id = s.user_id and f.key = s.key
)
select count(*) filter (where taken) as taken,
       coalesce((select array_agg(user_id order by user_id) from moved), '{}') as users,
       coalesce((select array_agg(version order by user_id) from moved), '{}') as versions
  from said
