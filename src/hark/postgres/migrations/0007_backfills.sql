-- Backfills: what an operator changes for many users: planned, applied, verified, taken back.

create type hark.backfill_state   as enum ('PLANNING', 'PLANNED', 'APPROVED', 'APPLYING', 'PAUSED', 'APPLIED', 'VERIFIED', 'CANCELED', 'FAILED');
create type hark.batch_state      as enum ('WAITING', 'CLAIMED', 'DONE', 'FAILED');
create type hark.backfill_outcome as enum ('applied', 'drifted', 'quarantined');

create table hark.backfill (
    id           bigint generated always as identity primary key,
    kind         text collate "C" not null,
    request      jsonb not null check (jsonb_typeof(request) = 'object'),
    cohort_id    bigint not null,
    undoes       bigint references hark.backfill,
    state        hark.backfill_state not null default 'PLANNING',
    batch_size   integer not null check (batch_size between 1 and 10000),
    rate         double precision check (rate > 0),
    adaptive     boolean not null,
    opens        time,
    closes       time,
    zone         text not null default 'UTC',
    approval_over bigint check (approval_over >= 0),
    notify       jsonb,
    reached      text collate "C" not null default '',
    batches      integer not null default 0,
    members      bigint not null default 0,
    to_change    bigint not null default 0,
    hash         text,
    rehearsal    jsonb,
    next_at      timestamptz not null,
    created_by   text not null,
    created_at   timestamptz not null,
    approved_by  text,
    changed_by   text not null,
    changed_at   timestamptz not null,
    why          text not null default '',
    started_at   timestamptz,
    ended_at     timestamptz,
    compared     bigint,
    holding      bigint,
    constraint window_has_two_ends check (opens is null and closes is null or coalesce(opens <> closes, false)),
    constraint planned_has_hash check (state in ('PLANNING', 'CANCELED', 'FAILED') or hash is not null),
    constraint approved_by_another check (approved_by <> created_by),
    constraint verified_compared_some check (state <> 'VERIFIED' or compared > 0)
) with (fillfactor = 50);
create index backfill_active on hark.backfill (id) where state in ('PLANNING', 'APPLYING');

create table hark.backfill_transition (
    from_state hark.backfill_state not null,
    to_state   hark.backfill_state not null,
    sentence   text not null,
    primary key (from_state, to_state)
);
insert into hark.backfill_transition values
    ('PLANNING', 'PLANNED',  'All of the cohort has been looked at; the plan is sealed with its hash.'),
    ('PLANNING', 'CANCELED', 'Called off while it was planned; nothing was changed.'),
    ('PLANNING', 'FAILED',   'It could not be planned; nothing was changed.'),
    ('PLANNED',  'APPROVED', 'A second person has looked at the plan and agreed.'),
    ('PLANNED',  'APPLYING', 'Applied; no second person is asked for so few users.'),
    ('PLANNED',  'CANCELED', 'Called off before anything was changed.'),
    ('APPROVED', 'APPLYING', 'Applied, by the plan that was approved.'),
    ('APPROVED', 'CANCELED', 'Called off before anything was changed.'),
    ('APPLYING', 'PAUSED',   'No batch is under way, and none begins until it is resumed.'),
    ('APPLYING', 'APPLIED',  'Every batch is done: in it each user is applied, drifted or quarantined.'),
    ('APPLYING', 'CANCELED', 'Called off; no batch is under way, and what was applied is in the journal.'),
    ('APPLYING', 'FAILED',   'A batch used up its attempts; the others are done.'),
    ('PAUSED',   'APPLYING', 'Resumed, at the first batch that is not done.'),
    ('PAUSED',   'CANCELED', 'Called off; what was applied is in the journal.'),
    ('APPLIED',  'APPLYING', 'What failed is applied again, and only that.'),
    ('APPLIED',  'VERIFIED', 'Read again: all that does not hold is explained.'),
    ('VERIFIED', 'APPLYING', 'What failed is applied again, and only that.'),
    ('VERIFIED', 'APPLIED',  'Read again: something does not hold any more, and nothing explains it.'),
    ('FAILED',   'APPLYING', 'The batches that failed are applied again.'),
    ('FAILED',   'CANCELED', 'Called off; what was applied is in the journal.');

-- The unit of work: one transaction. Its users are in backfill_part.
create table hark.backfill_batch (
    backfill_id bigint not null references hark.backfill on delete cascade,
    number      integer not null,
    state       hark.batch_state not null,
    attempt     integer not null default 0 check (attempt >= 0),
    lease_until timestamptz,
    worker      text,
    due_at      timestamptz not null,
    retried     text[] collate "C",
    members     integer not null,
    to_change   integer not null,
    applied     integer not null default 0,
    drifted     integer not null default 0,
    quarantined integer not null default 0,
    digest      text not null,
    took        interval not null default '0',
    waited      jsonb not null default '{}',
    changed_at  timestamptz not null,
    why         text not null default '',
    primary key (backfill_id, number),
    constraint lease_while_claimed check ((state = 'CLAIMED') = (lease_until is not null)),
    constraint done_adds_up check (state <> 'DONE' or applied + drifted + quarantined = to_change)
) with (fillfactor = 70);
create index backfill_batch_open on hark.backfill_batch (backfill_id, number) where state in ('WAITING', 'CLAIMED');

-- The plan: what becomes of whom. One row for all users of a batch who are alike, so that a plan over millions is small.
create table hark.backfill_part (
    backfill_id bigint not null,
    batch       integer not null,
    number      integer not null,
    user_type   text collate "C",
    outcomes    jsonb not null check (jsonb_typeof(outcomes) = 'object'),
    change      jsonb,
    promise     jsonb,
    users       integer not null check (users > 0),
    members     text[] collate "C" not null,
    primary key (backfill_id, batch, number),
    foreign key (backfill_id, batch) references hark.backfill_batch on delete cascade
);

-- The journal: what was changed, from what to what. Read by the users of a batch, so the user leads.
create table hark.backfill_item (
    recipient_id text collate "C" not null,
    backfill_id  bigint not null,
    batch        integer not null,
    outcome      hark.backfill_outcome not null,
    before       jsonb,
    after        jsonb,
    why          text,
    at           timestamptz not null,
    primary key (recipient_id, backfill_id)
);
create index backfill_item_failed on hark.backfill_item (backfill_id, recipient_id) where outcome <> 'applied';

create table hark.backfill_event (
    backfill_id bigint not null,
    id          bigint generated always as identity,
    at          timestamptz not null,
    who         text not null,
    what        text not null,
    from_state  hark.backfill_state,
    to_state    hark.backfill_state,
    detail      text not null default '',
    primary key (backfill_id, id)
);

create table hark.backfill_switch (
    only_one boolean primary key default true check (only_one),
    stopped  boolean not null default false,
    who      text,
    at       timestamptz
);
insert into hark.backfill_switch default values;

-- A move writes its own history, and one that backfill_transition does not have is refused.
create function hark.backfill_moved() returns trigger language plpgsql as $$
begin
    if new.state = old.state then
        return null;
    end if;
    if not exists (select from hark.backfill_transition t where t.from_state = old.state and t.to_state = new.state) then
        raise exception 'hark: backfill_transition has no arrow from % to %', old.state, new.state
            using errcode = 'check_violation';
    end if;
    insert into hark.backfill_event (backfill_id, at, who, what, from_state, to_state, detail)
    values (new.id, new.changed_at, new.changed_by, 'moved', old.state, new.state, new.why);
    return null;
end
$$;
create trigger backfill_moved after update of state on hark.backfill
    for each row execute function hark.backfill_moved();
