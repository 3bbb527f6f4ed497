-- Loads of what people bought: where a backfill of kind `history` stands, and its two steps a user.

-- SEGMENT: its users are let in by its flag. EFFECTIVE: all who go by the flag act on that. LOAD: users are asked for (of
-- an undo: taken back). STREAM: what the live stream had by then is recorded. GRAPH: the graph has what was loaded. AUDIT:
-- the two are compared. TAKE_OUT: of an undo, whom the run let in is let out.
create type hark.history_stage as enum ('SEGMENT', 'EFFECTIVE', 'LOAD', 'STREAM', 'GRAPH', 'AUDIT', 'TAKE_OUT', 'DONE');
create type hark.history_step_state as enum ('WAITING', 'DONE', 'QUARANTINED');

create table hark.history_run (
    backfill_id  bigint primary key references hark.backfill on delete cascade,
    stage        hark.history_stage not null,
    reached      text collate "C" not null default '',
    flag_version bigint,
    ends         jsonb,
    audit        jsonb,
    waits_for    text not null default '',
    changed_at   timestamptz not null
);

-- One step of one user in one run, done at most once: `key` is `receipt-<run>` or `shop-<run>`. `facts`, `keys` and `hash`
-- are of what the run brought, as it stood when the user's facts were at `version`.
create table hark.history_step (
    user_id     text collate "C" not null check (length(user_id) between 1 and 255),
    key         text collate "C" not null,
    backfill_id bigint not null references hark.backfill on delete cascade,
    kind        hark.fact_kind not null,
    state       hark.history_step_state not null default 'WAITING',
    attempts    integer not null default 0 check (attempts >= 0),
    due_at      timestamptz not null,
    why         text not null default '',
    watermark   bigint,
    version     bigint,
    facts       integer,
    keys        text,
    hash        text,
    loaded_at   timestamptz,
    primary key (user_id, key),
    constraint key_says_step check (
        key = case kind when 'receipt' then 'receipt' else 'shop' end || '-' || backfill_id),
    constraint done_says_what check (
        state <> 'DONE' or num_nulls(watermark, version, facts, keys, hash, loaded_at) = 0),
    constraint quarantined_says_why check (state <> 'QUARANTINED' or why <> '')
);
create index history_step_run on hark.history_step (backfill_id, user_id);

-- What a run said of a user's facts of a kind: how many, which, and what they are now.
create function hark.facts_of_run(whose text, what hark.fact_kind, run bigint)
returns table (facts integer, keys text, hash text) language sql stable parallel safe as $$
    select count(*)::integer, md5(coalesce(string_agg(f.key, chr(10) order by f.key), '')),
           md5(coalesce(string_agg(concat_ws(chr(9), f.key, f.version, f.deleted, f.product_id, coalesce(f.store_id, ''),
                                             coalesce(f.amount_minor::text, ''), coalesce(f.currency, ''), f.quantity,
                                             extract(epoch from f.occurred_at)), chr(10) order by f.key), ''))
      from hark.fact f
     where f.user_id = whose and f.kind = what and f.runs @> array[run]
$$;
