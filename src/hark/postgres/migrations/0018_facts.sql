-- What people bought: facts, of which the graph is the projection; products and categories; and whose facts were moved how far.

create type hark.fact_kind as enum ('receipt', 'order');

-- The truth: one row for each line of a receipt, or order. The highest version of a key is the one that holds. A row of
-- version -1 was taken back by an undo: whatever comes next holds again. Only ever written under the lock of its user's row
-- in history_user.
create table hark.fact (
    user_id      text collate "C" not null check (length(user_id) between 1 and 255),
    key          text collate "C" not null check (length(key) <= 400),
    kind         hark.fact_kind not null,
    product_id   text collate "C" check (length(product_id) between 1 and 255),
    store_id     text collate "C" check (length(store_id) between 1 and 255),
    amount_minor bigint,
    currency     text collate "C" check (length(currency) = 3),
    quantity     numeric(12, 3),
    occurred_at  timestamptz,
    version      bigint not null check (version >= -1),
    deleted      boolean not null default false,
    whole        boolean not null default false,
    live         boolean not null,
    runs         bigint[] not null default '{}',
    moved_at     bigint not null default 0,
    primary key (user_id, key),
    constraint key_says_kind check (case kind when 'receipt' then key like 'receipt:_%' else key like 'order:_%' end),
    constraint amount_has_currency check ((amount_minor is null) = (currency is null)),
    constraint known_unless_deleted check (
        deleted or product_id is not null and quantity is not null and occurred_at is not null),
    constraint taken_back_is_deleted check (deleted or version >= 0),
    constraint somebody_said_so check (live or runs <> '{}' or deleted)
);
create unique index fact_key on hark.fact (key);
create index fact_moved on hark.fact (user_id, moved_at);
create index fact_product on hark.fact (product_id, user_id) where not deleted;

-- The quarantine: facts whose key belongs to another user.
create table hark.fact_refused (
    user_id text collate "C" not null,
    key     text collate "C" not null,
    version bigint not null,
    owner   text collate "C" not null,
    fact    jsonb not null,
    run     bigint,
    at      timestamptz not null,
    primary key (user_id, key, version)
);

-- What a full load saw: all facts of a user and kind since then, as of a version. What it lacked, no older word brings back.
create table hark.fact_snapshot (
    user_id text collate "C" not null,
    kind    hark.fact_kind not null,
    version bigint not null check (version >= 0),
    since   timestamptz not null,
    run     bigint not null,
    at      timestamptz not null,
    primary key (user_id, kind, version)
);

-- How far a user's facts have moved on, and how far of that the graph has. `oldest_at`: no fact that counts is older.
create table hark.history_user (
    user_id        text collate "C" primary key check (length(user_id) between 1 and 255),
    version        bigint not null default 0 check (version >= 0),
    projected      bigint not null default -1 check (projected between -1 and version),
    changed_at     timestamptz not null,
    ahead_since    timestamptz,
    oldest_at      timestamptz,
    last_loaded_at timestamptz,
    loaded_epoch   bigint
) with (fillfactor = 70);
create index history_user_ahead on hark.history_user (ahead_since, user_id) where projected < version;
create index history_user_oldest on hark.history_user (oldest_at) where oldest_at is not null;

-- Facts count from here on.
create table hark.history_window (
    only_one  boolean primary key default true check (only_one),
    starts_at timestamptz not null default '1900-01-01 00:00Z'
);
insert into hark.history_window default values;

-- Null: not known. `spread_from`: the users who bought it are being moved on, up to and with this one.
create table hark.product (
    product_id  text collate "C" primary key check (length(product_id) between 1 and 255),
    name        text,
    category_id text collate "C" check (length(category_id) between 1 and 255),
    asked_at    timestamptz,
    asked_times integer not null default 0,
    version     bigint not null default 0,
    projected   bigint not null default -1 check (projected between -1 and version),
    spread_from text collate "C"
);
create index product_unasked on hark.product (product_id) where asked_at is null;
create index product_ahead on hark.product (product_id) where projected < version;
create index product_spreads on hark.product (product_id) where spread_from is not null;
create index product_in_category on hark.product (category_id) where category_id is not null;

-- From the root to the leaf, which is the category itself.
create table hark.product_category (
    category_id text collate "C" primary key check (length(category_id) between 1 and 255),
    hierarchy   text[] collate "C" check (cardinality(hierarchy) > 0),
    asked_at    timestamptz,
    asked_times integer not null default 0
);
create index product_category_unasked on hark.product_category (category_id) where asked_at is null;

-- The questions that the graph answers, answered from the facts that count -----------------------------------------------

create view hark.purchased as
select f.user_id, f.key, f.kind, case f.kind when 'receipt' then substring(f.key from 'receipt:(.*):') end as receipt_id,
       f.product_id, p.name as product_name, p.category_id, c.hierarchy as category_hierarchy, f.store_id, f.amount_minor,
       f.currency, f.quantity, f.occurred_at, f.version, f.moved_at
  from hark.fact f
 cross join hark.history_window w
  left join hark.product p using (product_id)
  left join hark.product_category c using (category_id)
 where not f.deleted and f.occurred_at >= w.starts_at;

-- `totals`: by currency, in minor units, of the lines whose amount is known.
create view hark.shops_in as
select s.user_id, s.category_id, c.hierarchy as category_hierarchy, s.purchases, s.quantity, s.totals, s.first_at, s.last_at
  from (select user_id, category_id, sum(purchases)::bigint as purchases, sum(quantity) as quantity,
               coalesce(jsonb_object_agg(currency, total) filter (where currency is not null), '{}') as totals,
               min(first_at) as first_at, max(last_at) as last_at
          from (select f.user_id, p.category_id, f.currency, count(*) as purchases, sum(f.quantity) as quantity,
                       sum(f.amount_minor) as total, min(f.occurred_at) as first_at, max(f.occurred_at) as last_at
                  from hark.fact f
                 cross join hark.history_window w
                  join hark.product p using (product_id)
                 where not f.deleted and f.occurred_at >= w.starts_at and p.category_id is not null
                 group by f.user_id, p.category_id, f.currency) by_currency
         group by user_id, category_id) s
  left join hark.product_category c using (category_id);

create view hark.shops_at as
select user_id, store_id, sum(purchases)::bigint as purchases, sum(quantity) as quantity,
       coalesce(jsonb_object_agg(currency, total) filter (where currency is not null), '{}') as totals,
       min(first_at) as first_at, max(last_at) as last_at
  from (select f.user_id, f.store_id, f.currency, count(*) as purchases, sum(f.quantity) as quantity,
               sum(f.amount_minor) as total, min(f.occurred_at) as first_at, max(f.occurred_at) as last_at
          from hark.fact f
         cross join hark.history_window w
         where not f.deleted and f.occurred_at >= w.starts_at and f.store_id is not null
         group by f.user_id, f.store_id, f.currency) by_currency
 group by user_id, store_id;
