-- Where the users of a backfill come from: cohorts, and the segments that they may name.

create table hark.segment (
    name       text collate "C" primary key check (length(name) between 1 and 255),
    version    bigint not null default 1,
    created_at timestamptz not null,
    changed_at timestamptz not null
);

create table hark.segment_member (
    recipient_id text collate "C" not null,
    segment      text collate "C" not null,
    primary key (recipient_id, segment)
);
create index segment_member_segment on hark.segment_member (segment, recipient_id);

create type hark.cohort_state as enum ('STAGED', 'FORGOTTEN');

create table hark.cohort (
    id          bigint generated always as identity primary key,
    spec        jsonb not null,
    user_types  text[] collate "C",
    state       hark.cohort_state not null default 'STAGED',
    members     bigint not null default 0,
    rows        bigint not null default 0,
    duplicates  bigint not null default 0,
    unknown     bigint not null default 0,
    other_types bigint not null default 0,
    excluded    bigint not null default 0,
    bad         bigint not null default 0,
    blank       bigint not null default 0,
    objects     jsonb not null default '[]',
    staged_at   timestamptz not null
);

-- By cohort first, against the rule for tables about people: it is written whole, read in order by the batches of its one
-- backfill, and forgotten whole. No foreign key, which would cost a look-up for each of millions of rows.
create table hark.cohort_member (
    cohort_id    bigint not null,
    recipient_id text collate "C" not null,
    primary key (cohort_id, recipient_id)
);

create table hark.cohort_fault (
    cohort_id bigint not null,
    list      smallint not null,
    line      bigint not null,
    what      text not null,
    text      text not null,
    primary key (cohort_id, list, line)
);
