-- Live ingestion: how far each stream was taken, what could not be, and whether it is to go on.

-- `position`: the next offset that was not handled yet; moved in the transaction that records what came before it. A file
-- of JSON lines has group `jsonl:<name>`, and its lines for offsets. `end_position`: the end as it was last seen.
create table hark.ingest_position (
    group_name   text collate "C" not null check (length(group_name) between 1 and 255),
    topic        text collate "C" not null check (length(topic) between 1 and 255),
    partition    integer not null check (partition >= 0),
    position     bigint not null check (position >= 0),
    end_position bigint not null check (end_position >= 0),
    seen_at      timestamptz not null,
    primary key (group_name, topic, partition)
);

-- Messages that could not be taken, as they came, and why. An empty topic: a line of a file that does not say its own.
create table hark.ingest_dead (
    id         bigint generated always as identity primary key,
    group_name text collate "C" not null,
    topic      text collate "C" not null,
    partition  integer not null,
    at_offset  bigint not null,
    value      bytea,
    cause      text not null,
    written_at timestamptz,
    died_at    timestamptz not null,
    tries      integer not null default 1 check (tries > 0)
);

-- What a file of JSON lines began with, so that another one is not taken for its continuation.
create table hark.ingest_file (
    group_name text collate "C" primary key,
    head_bytes integer not null check (head_bytes >= 0),
    head       bytea not null
);

-- All ingestion, held by one word.
create table hark.ingest_switch (
    only_one  boolean primary key default true check (only_one),
    paused_by text,
    paused_at timestamptz,
    constraint paused_by_whom check ((paused_by is null) = (paused_at is null))
);
insert into hark.ingest_switch default values;
