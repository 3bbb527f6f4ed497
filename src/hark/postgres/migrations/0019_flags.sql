-- Flags: named gates made of segments, each with a version; who acts on which version of them; who was enrolled.

alter type hark.scope add value 'flags';

create type hark.segment_kind as enum ('ids', 'object', 'internal', 'rollout');

-- The members of any kind but a rollout stand in segment_member: those of an object, or internal users, are written there
-- by whoever looked last, so that every process and every query goes by the same ones. A rollout's are whoever rolls less
-- than its share, of 100,000.
alter table hark.segment
    add column kind        hark.segment_kind not null default 'ids',
    add column members     bigint not null default 0,
    add column url         text,
    add column format      text,
    add column file_column text,
    add column etag        text,
    add column internal    text[] collate "C",
    add column share       integer check (share between 0 and 100000),
    add column salt        text collate "C",
    add column look_at     timestamptz,
    add column looked_at   timestamptz,
    add column trouble     text,
    add constraint segment_is_of_its_kind check (
        (kind = 'object') = (url is not null) and (kind = 'internal') = (internal is not null)
        and (kind = 'rollout') = (share is not null) and (kind = 'rollout') = (salt is not null)
        and (kind in ('object', 'internal')) = (look_at is not null));
create index segment_look on hark.segment (look_at) where look_at is not null;

-- Null: since before this was kept.
alter table hark.segment_member add column since timestamptz;
update hark.segment s set members = (select count(*) from hark.segment_member m where m.segment = s.name);

create table hark.flag (
    name       text collate "C" primary key check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    version    bigint not null default 1,
    is_on      boolean not null default true,
    on_since   timestamptz not null,
    enrolled   bigint not null default 0,
    created_at timestamptz not null,
    changed_at timestamptz not null
);

create table hark.flag_segment (
    flag    text collate "C" not null references hark.flag,
    segment text collate "C" not null references hark.segment,
    since   timestamptz not null,
    primary key (flag, segment)
);
create index flag_segment_segment on hark.flag_segment (segment, flag);

-- Rows of those who left again stay: who reads only what changed since a version must hear of them, too.
create table hark.enrolled (
    user_id text collate "C" not null check (length(user_id) between 1 and 255),
    flag    text collate "C" not null references hark.flag,
    version bigint not null,
    is_in   boolean not null default true,
    since   timestamptz not null,
    who     text not null,
    primary key (user_id, flag)
);
create index enrolled_flag on hark.enrolled (flag, version);
create index enrolled_in on hark.enrolled (flag, user_id) where is_in;

-- A load that an enrolment asked for; a run that takes it writes its number here, once their version is effective everywhere.
create table hark.load_asked (
    user_id     text collate "C" primary key,
    flag        text collate "C" not null,
    version     bigint not null,
    asked_by    text not null,
    asked_at    timestamptz not null,
    backfill_id bigint
);
create index load_asked_waiting on hark.load_asked (asked_at, user_id) where backfill_id is null;

-- Which version of a flag a process acts on; -1: it is about to read it. Whose lease has run out is not waited for: its
-- row is taken away, and with it its right to write.
create table hark.gate_report (
    process     text collate "C" not null,
    flag        text collate "C" not null references hark.flag,
    version     bigint not null,
    seen_at     timestamptz not null,
    lease_until timestamptz not null,
    primary key (process, flag)
);
create index gate_report_flag on hark.gate_report (flag, version);

-- What a user rolls, from 0 to 2^32 - 1: always the same, and another for another salt.
create function hark.rolled(salt text, user_id text) returns bigint language sql immutable strict parallel safe as $$
    select ('x' || encode(substring(sha256(convert_to(salt || ':' || user_id, 'UTF8')) for 4), 'hex'))::bit(32)::bigint
$$;
