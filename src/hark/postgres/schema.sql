-- The core: events become batched messages, each sent at most once.

create type hark.channel   as enum ('email', 'in_app', 'push');
create type hark.frequency as enum ('never', 'immediate', 'batched', 'daily', 'weekly');
create type hark.category  as enum ('activity', 'transactional');
create type hark.reach     as enum ('ok', 'no_address', 'unconfirmed', 'not_opted_in', 'suppressed', 'inactive');
create type hark.why       as enum ('unknown_recipient', 'unknown_type', 'inactive', 'not_offered', 'malformed', 'never',
                                    'own_channels', 'default_channels');
create type hark.delivery_state as enum ('PENDING', 'SENDING', 'SENT', 'CANCELED');
create type hark.outcome   as enum ('none', 'unknown', 'accepted', 'refused');

-- Which database this is, so that Message-IDs are its own.
create table hark.installation (
    only_one boolean primary key default true check (only_one),
    id       uuid not null default gen_random_uuid()
);
insert into hark.installation default values;

-- The catalogue as the database knows it ----------------------------------------------------------------------------

create table hark.user_type (
    name        text collate "C" primary key,
    description text not null
);

create table hark.reason (
    name        text collate "C" primary key,
    title       text not null,
    frequency   hark.frequency not null,
    cooldown    interval not null check (cooldown > interval '0'),
    max_stale   interval check (max_stale >= cooldown),
    due_time    time not null,
    due_weekday smallint not null check (due_weekday between 0 and 6),
    batch_group text collate "C" not null,
    category    hark.category not null,
    at_least_once boolean not null,
    position    integer not null,
    fingerprint text not null,
    retired     boolean not null default false,
    auto_subscribe text[] collate "C" not null default '{}'
);

-- What preferences.decide() answers for each class of recipients: its truth table, so that fan-out joins instead of asking.
create table hark.decision (
    reason           text collate "C" not null references hark.reason on delete cascade,
    user_type        text collate "C" not null,
    reach            hark.reach not null,
    channel_choice   smallint not null check (channel_choice between -2 and 7),
    frequency_choice text collate "C" not null,
    email            boolean not null,
    in_app           boolean not null,
    frequency        hark.frequency not null,
    own_frequency    boolean not null,
    why              hark.why not null,
    primary key (reason, user_type, reach, channel_choice, frequency_choice)
);

-- Who -----------------------------------------------------------------------------------------------------------------

create table hark.recipient (
    id         text collate "C" primary key check (length(id) between 1 and 255),
    user_type  text collate "C" not null,
    address    text,
    confirmed  boolean not null default false,
    opted_in   boolean not null default true,
    active     boolean not null default true,
    suppressed text,
    zone       text not null default 'UTC' check ((timestamptz '2000-01-01 00:00+00' at time zone zone) is not null),
    locale     text not null default 'en',
    attributes jsonb not null default '{}' check (jsonb_typeof(attributes) = 'object'),
    updated_at timestamptz not null,
    reach      hark.reach not null generated always as (
                   case when not active then 'inactive'::hark.reach
                        when address is null then 'no_address'
                        when suppressed is not null then 'suppressed'
                        when not confirmed then 'unconfirmed'
                        when not opted_in then 'not_opted_in'
                        else 'ok' end) stored,
    digest_at      time,
    digest_weekday smallint check (digest_weekday between 0 and 6)
);

create table hark.subscription (
    recipient_id text collate "C" not null,
    entity       text collate "C" not null check (length(entity) between 1 and 255),
    muted        boolean not null default false,
    since        timestamptz not null,
    followed     boolean not null default true,
    primary key (recipient_id, entity),
    constraint heard_is_followed check (followed or muted)
);
create index subscription_entity on hark.subscription (entity, recipient_id) where not muted;
create index subscription_muted on hark.subscription (entity, recipient_id) where muted;
create index subscription_muted_by on hark.subscription (recipient_id, entity) where muted;

create table hark.preference (
    recipient_id text collate "C" primary key,
    channels     jsonb not null default '{}' check (jsonb_typeof(channels) = 'object'),
    frequencies  jsonb not null default '{}' check (jsonb_typeof(frequencies) = 'object'),
    updated_at   timestamptz not null,
    since        jsonb not null default '{}' check (jsonb_typeof(since) = 'object'),
    chose        jsonb not null default '{}' check (jsonb_typeof(chose) = 'object')
);

-- -1: no choice of their own; -2: a choice that cannot be read; else 1 email + 2 in_app + 4 push.
create function hark.channel_choice(choice jsonb) returns smallint language sql immutable parallel safe as $$
    select case when choice is null then -1
                when jsonb_typeof(choice) <> 'array' then -2
                else (choice ? 'email')::int + (choice ? 'in_app')::int * 2 + (choice ? 'push')::int * 4
           end::smallint
$$;

create function hark.frequency_choice(choice jsonb) returns text language sql immutable parallel safe as $$
    select case when choice is null then 'default'
                when choice in ('"never"', '"immediate"', '"batched"', '"daily"', '"weekly"') then choice #>> '{}'
                else 'malformed' end collate "C"
$$;

-- What happened -------------------------------------------------------------------------------------------------------

create table hark.event (
    id           bigint generated always as identity primary key,
    reason       text collate "C" not null,
    actor        text collate "C",
    about        text,
    payload      jsonb not null default '{}' check (jsonb_typeof(payload) = 'object'),
    recipients   text[] collate "C" not null default '{}',
    entities     text[] collate "C" not null default '{}',
    key          text collate "C" check (key <> ''),
    occurred_at  timestamptz not null,
    published_at timestamptz not null,
    fanned_out_at timestamptz,
    set_aside    text,
    chunks       integer not null default 0,
    reached      text collate "C" not null default '',
    matched      bigint not null default 0
) with (autovacuum_vacuum_scale_factor = 0.02);
create unique index event_key on hark.event (key) where key is not null;
create index event_set_aside on hark.event (id) where set_aside is not null;
create index event_waiting on hark.event (chunks, id) where fanned_out_at is null;

create table hark.notification (
    recipient_id   text collate "C" not null,
    event_id       bigint not null,
    in_app         boolean not null,
    why            hark.why not null,
    frequency      hark.frequency,
    own_frequency  boolean not null default false,
    named          boolean not null,
    reach          hark.reach,
    email_delivery bigint,
    created_at     timestamptz not null,
    seen_at        timestamptz,
    read_at        timestamptz,
    archived_at    timestamptz,
    as_reason      text collate "C",
    also           text[] collate "C",
    primary key (recipient_id, event_id)
);

-- How many notifications each recipient has not read: exact, moved by the statement that moves them.
create table hark.inbox (
    recipient_id text collate "C" primary key,
    unread       bigint not null check (unread >= 0)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- What is sent --------------------------------------------------------------------------------------------------------

create table hark.delivery (
    recipient_id text collate "C" not null,
    id           bigint generated always as identity,
    channel      hark.channel not null check (channel <> 'in_app'),
    batch_group  text collate "C" not null,
    frequency    hark.frequency not null check (frequency <> 'never'),
    state        hark.delivery_state not null default 'PENDING',
    outcome      hark.outcome not null default 'none',
    gathering    boolean not null,
    at_least_once boolean not null,
    due_at       timestamptz not null,
    stale_at     timestamptz not null,
    items        bigint not null check (items > 0),
    moved_on     integer not null default 0,
    first_event  bigint,
    last_event   bigint check (last_event >= first_event),
    attempt      integer not null default 0 check (attempt >= 0),
    lease_until  timestamptz,
    worker       text,
    why          text not null default '',
    left_out     jsonb,
    created_at   timestamptz not null,
    changed_at   timestamptz not null,
    held_back    integer not null default 0 check (held_back between 0 and attempt),
    silent       jsonb check (jsonb_typeof(silent) = 'object'),
    primary key (recipient_id, id),
    constraint gathers_only_untouched check (not gathering or (state = 'PENDING' and attempt = 0)),
    constraint lease_while_sending check ((state = 'SENDING') = (lease_until is not null)),
    constraint worker_while_sending check (state <> 'SENDING' or (worker is not null and attempt > 0)),
    constraint outcome_of_state check (
        case state when 'SENT' then outcome in ('unknown', 'accepted')
                   when 'CANCELED' then outcome in ('none', 'refused')
                   else outcome = 'none' end),
    constraint canceled_says_why check (state <> 'CANCELED' or why <> '')
) with (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);
create unique index delivery_gathering on hark.delivery (recipient_id, channel, batch_group) where gathering;
create index delivery_due on hark.delivery (channel, due_at) where state = 'PENDING';
create index delivery_lease on hark.delivery (lease_until) where state = 'SENDING';
create index delivery_unknown on hark.delivery (changed_at) where outcome = 'unknown';
create index delivery_newest on hark.delivery (id);

create table hark.delivery_transition (
    from_state   hark.delivery_state not null,
    from_outcome hark.outcome not null,
    to_state     hark.delivery_state not null,
    to_outcome   hark.outcome not null,
    sentence     text not null,
    primary key (from_state, from_outcome, to_state, to_outcome)
);
insert into hark.delivery_transition values
    ('PENDING', 'none',    'SENDING',  'none',     'Claimed when due: row locks and the guard give it to one worker, with a lease and the next attempt number.'),
    ('SENDING', 'none',    'CANCELED', 'none',     'Recheck found nothing left to say, or its attempts are used up; nothing was handed over.'),
    ('SENDING', 'none',    'PENDING',  'none',     'The lease ran out, rendering failed for now, or its recipient''s cap is reached; nothing was handed over.'),
    ('SENDING', 'none',    'SENT',     'unknown',  'Committed just before the hand-over; from here on never again by itself.'),
    ('SENT',    'unknown', 'SENT',     'accepted', 'The provider said yes.'),
    ('SENT',    'unknown', 'PENDING',  'none',     'The provider certainly did not take it, and may later; or the reason asks for at least once.'),
    ('SENT',    'unknown', 'CANCELED', 'refused',  'The provider certainly will not take it, or its attempts are used up.');

create table hark.delivery_history (
    recipient_id text collate "C" not null,
    delivery_id  bigint not null,
    id           bigint generated always as identity,
    at           timestamptz not null,
    from_state   hark.delivery_state not null,
    from_outcome hark.outcome not null,
    to_state     hark.delivery_state not null,
    to_outcome   hark.outcome not null,
    attempt      integer not null,
    worker       text,
    why          text not null,
    primary key (recipient_id, delivery_id, id)
);

-- The transition writes its own history, and refuses an arrow that the table does not have.
create function hark.refuse_arrow(was hark.delivery_state, had hark.outcome, now_is hark.delivery_state, has hark.outcome)
returns hark.delivery_state language plpgsql as $$
begin
    raise exception 'hark: delivery_transition has no arrow from % (%) to % (%)', was, had, now_is, has
        using errcode = 'check_violation';
end
$$;
create function hark.delivery_moved() returns trigger language plpgsql
    set enable_nestloop = off set enable_mergejoin = off as $$
begin
    insert into hark.delivery_history
           (recipient_id, delivery_id, at, from_state, from_outcome, to_state, to_outcome, attempt, worker, why)
    select now_is.recipient_id, now_is.id, now_is.changed_at, was.state, was.outcome,
           coalesce(arrow.to_state, hark.refuse_arrow(was.state, was.outcome, now_is.state, now_is.outcome)),
           now_is.outcome, now_is.attempt, now_is.worker, now_is.why
      from was
      join now_is using (recipient_id, id)
      left join hark.delivery_transition arrow
        on (arrow.from_state, arrow.from_outcome, arrow.to_state, arrow.to_outcome)
         = (was.state, was.outcome, now_is.state, now_is.outcome)
     where (was.state, was.outcome) is distinct from (now_is.state, now_is.outcome);
    return null;
end
$$;
create trigger delivery_moved after update on hark.delivery
    referencing old table as was new table as now_is
    for each statement execute function hark.delivery_moved();

-- How products say it -------------------------------------------------------------------------------------------------

create function hark.publish(
    reason       text,
    recipients   text[] default '{}',
    entities     text[] default '{}',
    actor        text default null,
    about        text default null,
    payload      jsonb default '{}',
    key          text default null,
    occurred_at  timestamptz default null,
    published_at timestamptz default clock_timestamp()
) returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    event_id bigint;
    same boolean;
    follows text[];
begin
    select r.auto_subscribe into follows from hark.reason r where r.name = publish.reason and not r.retired;
    if not found then
        raise exception 'hark: the catalogue has no reason "%"', reason
            using errcode = 'HK001',
                  hint = 'Known reasons: ' || coalesce((select string_agg(r.name, ', ' order by r.name)
                                                          from hark.reason r where not r.retired), 'none yet; run hark migrate with a catalogue');
    end if;
    recipients := coalesce(recipients, '{}');
    entities := coalesce(entities, '{}');
    if cardinality(recipients) + cardinality(entities) = 0 then
        raise exception 'hark: an event needs recipients or entities, or nobody would hear of it' using errcode = '22023';
    end if;
    if cardinality(recipients) > 10000 then
        raise exception 'hark: % recipients named in one event; at most 10000', cardinality(recipients)
            using errcode = '22023', hint = 'Subscribe them to an entity and publish to that.';
    end if;
    if cardinality(entities) > 1000 then
        raise exception 'hark: % entities named in one event; at most 1000', cardinality(entities) using errcode = '22023';
    end if;
    if array_position(recipients, null) is not null or array_position(entities, null) is not null
       or '' = any(recipients) or '' = any(entities) then
        raise exception 'hark: a recipient or entity of an event is null or empty' using errcode = '22023';
    end if;
    if exists (select from unnest(recipients || entities || array[actor, key]) as given(name) where length(name) > 255)
       or length(about) > 1000 then
        raise exception 'hark: a recipient, entity, actor or key is longer than 255 characters, or about is longer than 1000'
            using errcode = '22023';
    end if;
    if jsonb_typeof(payload) is distinct from 'object' then
        raise exception 'hark: payload is %, expected a JSON object', coalesce(jsonb_typeof(payload), 'null') using errcode = '22023';
    end if;
    if octet_length(payload::text) > 262144 then
        raise exception 'hark: payload is % bytes, at most 262144', octet_length(payload::text)
            using errcode = '22023', hint = 'Store what is large elsewhere, and publish a link to it.';
    end if;
    if not (published_at between '1900-01-01' and '9999-01-01')
       or not coalesce(occurred_at between '1900-01-01' and '9999-01-01', true) then
        raise exception 'hark: an event happens between the years 1900 and 9999, not at %', coalesce(occurred_at, published_at)
            using errcode = '22023';
    end if;
    if jsonb_path_exists(payload, 'strict $.**{100 to last}') then
        raise exception 'hark: payload is nested deeper than 100 levels' using errcode = '22023';
    end if;
    if key = '' then
        raise exception 'hark: an idempotency key may be null but not empty' using errcode = '22023';
    end if;

    insert into hark.event (reason, actor, about, payload, recipients, entities, key, occurred_at, published_at)
    values (reason, actor, about, payload, recipients, entities, key, coalesce(occurred_at, published_at), published_at)
    on conflict (key) where key is not null do nothing
    returning id into event_id;
    if event_id is not null then
        if actor is not null and follows <> '{}' then
            insert into hark.subscription (recipient_id, entity, since)
            select publish.actor, given.entity, publish.published_at
              from (select unnest(publish.entities) as entity, false as is_about
                    union all
                    select publish.about, true where publish.about ~ '^[a-z][a-z0-9_]*:.' and length(publish.about) <= 255) given
             where (hark.kind_of(given.entity) = any(follows) or given.is_about and 'about' = any(follows))
               and not exists (select from hark.subscription known
                                where known.recipient_id = publish.actor and known.entity = given.entity and known.followed)
             group by given.entity
             order by given.entity collate "C"
                on conflict (recipient_id, entity) do update set followed = true where not subscription.followed;
        end if;
        return event_id;
    end if;

    select e.id,
           (e.reason, e.actor, e.about, e.payload) is not distinct from (publish.reason collate "C", publish.actor collate "C", publish.about, publish.payload)
           and (publish.occurred_at is null or e.occurred_at = publish.occurred_at)
           and array(select distinct unnest(e.recipients) order by 1) = array(select distinct unnest(publish.recipients) collate "C" order by 1)
           and array(select distinct unnest(e.entities) order by 1) = array(select distinct unnest(publish.entities) collate "C" order by 1)
      into event_id, same
      from hark.event e where e.key = publish.key collate "C";
    if not same then
        raise exception 'hark: key "%" already names event %, whose content is other', key, event_id
            using errcode = 'HK002', hint = 'Use a new key for a new event; the same key only for a retry of the same one.';
    end if;
    return event_id;
end
$$;

-- The instant of a local moment: when clocks of `zone` first show `due_time` on `day`. Of a time that comes twice where
-- clocks go back it is the first; one that they skip comes as much later as they skip, which may be on the next day.
-- (Postgres takes the second of two: `earlier` is what it would be by the clocks of the day before.)
create function hark.at_local(day date, due_time time, zone text)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    local timestamp := day + due_time;
    due timestamptz := local at time zone zone;
    earlier timestamptz := (local - ((due - interval '1 day') at time zone zone - (due - interval '1 day') at time zone 'UTC'))
                           at time zone 'UTC';
begin
    if earlier < due and earlier at time zone zone = local then
        return earlier;
    end if;
    return due;
end
$$;

-- The next moment at or after `moment` that is `due_time` in `zone` (on `due_weekday`, 0 = Monday, unless null). One of
-- yesterday may still be ahead: so it begins with yesterday.
create function hark.next_local(moment timestamptz, zone text, due_time time, due_weekday smallint)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    day date := (moment at time zone zone)::date - 1;
    due timestamptz;
begin
    while day + due_time is not null loop
        if due_weekday is null or extract(isodow from day) = due_weekday + 1 then
            due := hark.at_local(day, due_time, zone);
            if due >= moment then
                return due;
            end if;
        end if;
        day := day + 1;
    end loop;
    return null;
end
$$;

-- Replies: one event, several reasons, one message -----------------------------------------------------------------------

-- What may be told narrower: the reasons that a reason has for those who stand nearer to its events, most specific first.
create table hark.facet (
    base   text collate "C" not null references hark.reason on delete cascade,
    rank   smallint not null check (rank between 0 and 9),
    reason text collate "C" not null references hark.reason on delete cascade check (reason <> base),
    kind   text collate "C" not null check (kind <> ''),
    primary key (base, rank),
    unique (base, reason)
);

-- The kind of an entity: what stands before its first colon; null where there is none.
create function hark.kind_of(entity text) returns text language sql immutable parallel safe as $$
    select nullif(split_part(entity, ':', 1), entity) collate "C"
$$;

-- Limits -------------------------------------------------------------------------------------------------------------

-- GCRA, one row a channel, shared by all workers: `tat` is the moment from which on the channel has all its credit again.
create table hark.rate_limit (
    name text collate "C" primary key,
    tat  timestamptz not null default '1970-01-01 00:00+00'
);
insert into hark.rate_limit (name) values ('email'), ('push');

-- When a recipient was written to, as far back as the cap looks, oldest first; `granted`: how many of them the newest
-- statement let go. Written only where a cap is set.
create table hark.recipient_rate (
    recipient_id text collate "C" not null,
    channel      hark.channel not null,
    recent       timestamptz[] not null,
    granted      integer not null check (granted >= 0),
    primary key (recipient_id, channel)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- Cohorts ----------------------------------------------------------------------------------------------------------

create type hark.segment_kind as enum ('ids', 'object', 'internal', 'rollout');

-- The members of any kind but a rollout stand in segment_member: those of an object, or internal users, are written there
-- by whoever looked last, so that every process and every query goes by the same ones. A rollout's are whoever rolls less
-- than its share, of 100,000.
create table hark.segment (
    name        text collate "C" primary key check (length(name) between 1 and 255),
    version     bigint not null default 1,
    created_at  timestamptz not null,
    changed_at  timestamptz not null,
    kind        hark.segment_kind not null default 'ids',
    members     bigint not null default 0,
    url         text,
    format      text,
    file_column text,
    etag        text,
    internal    text[] collate "C",
    share       integer check (share between 0 and 100000),
    salt        text collate "C",
    look_at     timestamptz,
    looked_at   timestamptz,
    trouble     text,
    constraint segment_is_of_its_kind check (
        (kind = 'object') = (url is not null) and (kind = 'internal') = (internal is not null)
        and (kind = 'rollout') = (share is not null) and (kind = 'rollout') = (salt is not null)
        and (kind in ('object', 'internal')) = (look_at is not null))
);
create index segment_look on hark.segment (look_at) where look_at is not null;

-- `since` null: since before this was kept.
create table hark.segment_member (
    recipient_id text collate "C" not null,
    segment      text collate "C" not null,
    since        timestamptz,
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
    staged_at   timestamptz not null,
    excluded_unknown bigint not null default 0,
    leaving_nobody   smallint[] not null default '{}'
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

-- Digests -------------------------------------------------------------------------------------------------------------

create type hark.digest_base as enum ('first', 'returned', 'rebased');

-- Which reasons have feeds, as the last planner's catalogue says.
create table hark.feed (
    reason  text collate "C" primary key,
    cap     integer not null check (cap > 0),
    overlap interval not null check (overlap >= interval '0'),
    returned_at       timestamptz,
    returned_snapshot pg_snapshot,
    constraint returned_as_of_both check ((returned_at is null) = (returned_snapshot is null))
);

-- The distinct mornings of all recipients: what planners poll instead of them. Null: when the catalogue's calendar says.
create table hark.slot (
    id             bigint generated always as identity primary key,
    frequency      hark.frequency not null check (frequency in ('daily', 'weekly')),
    zone           text not null,
    digest_at      time,
    digest_weekday smallint,
    next_due       timestamptz not null default '-infinity',
    due_time       time,
    due_weekday    smallint,
    unique nulls not distinct (frequency, zone, digest_at, digest_weekday)
);
create index slot_due on hark.slot (next_due);

-- One reason's way through the recipients of a slot, for its latest morning: where it is, and what stands in its way.
create table hark.walk (
    slot_id   bigint not null references hark.slot,
    reason    text collate "C" not null,
    due_at    timestamptz not null,
    period    date not null,
    missed    integer not null check (missed >= 0),
    reached   text collate "C" not null default '',
    asked     bigint not null default 0,
    planned   bigint not null default 0,
    opened_at timestamptz not null,
    retry_at  timestamptz not null,
    done_at   timestamptz,
    failures  integer not null default 0,
    fault     text,
    passed_over integer not null default 0 check (passed_over >= 0),
    primary key (slot_id, reason)
) with (fillfactor = 70);
create index walk_open on hark.walk (retry_at) where done_at is null;

-- What was committed at some moment, so that a first digest can begin a week ago. Coverage never goes back behind
-- the newest `base`: the install, or a rebase.
create table hark.moment (
    at       timestamptz primary key,
    snapshot pg_snapshot not null,
    base     boolean not null default false
);
insert into hark.moment values ('epoch', pg_current_snapshot(), true);

-- A recipient's digest of one reason in one local period: what was committed behind `since`, up to `until`.
create table hark.digest (
    recipient_id text collate "C" not null,
    reason       text collate "C" not null,
    period       date not null,
    delivery_id  bigint not null,
    since        pg_snapshot not null,
    since_at     timestamptz not null,
    until        pg_snapshot not null,
    until_at     timestamptz not null,
    base         hark.digest_base,
    missed       integer not null,
    items        jsonb not null check (jsonb_typeof(items) = 'array'),
    keys         text[] collate "C" not null check (cardinality(keys) > 0 and array_position(keys, null) is null),
    total        bigint not null check (total > 0),
    planned_at   timestamptz not null,
    tried        integer not null default 0 check (tried >= 0),
    primary key (recipient_id, reason, period)
);
create index digest_delivery on hark.digest (recipient_id, delivery_id);
create index digest_newest on hark.digest (planned_at);

create index recipient_morning on hark.recipient
    (zone, (coalesce(digest_at, time '24:00')), (coalesce(digest_weekday, -1::smallint)), id);

-- The last moment at or before `moment` that is `due_time` in `zone` (on `due_weekday`, 0 = Monday, unless null).
create function hark.last_local(moment timestamptz, zone text, due_time time, due_weekday smallint)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    day date := (moment at time zone zone)::date + 1;
    due timestamptz;
begin
    while day + due_time is not null loop
        if due_weekday is null or extract(isodow from day) = due_weekday + 1 then
            due := hark.at_local(day, due_time, zone);
            if due <= moment then
                return due;
            end if;
        end if;
        day := day - 1;
    end loop;
    return null;
end
$$;

-- Of a feed that someone was not told of, and is with the channels that a backfill gives them: news begin here.
create function hark.returned(user_type text, reach hark.reach, before jsonb, after jsonb, frequencies jsonb, at timestamptz)
returns jsonb language sql stable parallel safe as $$
    select coalesce(jsonb_object_agg(f.reason, jsonb_build_object('at', at, 'snapshot', pg_current_snapshot()::text)), '{}')
      from hark.feed f
      left join hark.decision was
        on was.reason = f.reason and was.user_type = returned.user_type and was.reach = returned.reach
       and was.channel_choice = hark.channel_choice(before -> f.reason)
       and was.frequency_choice = hark.frequency_choice(frequencies -> f.reason)
      join hark.decision becomes
        on becomes.reason = f.reason and becomes.user_type = returned.user_type and becomes.reach = 'ok'
       and becomes.channel_choice = hark.channel_choice(after -> f.reason)
       and becomes.frequency_choice = hark.frequency_choice(frequencies -> f.reason)
     where after ? f.reason and (was.email and was.frequency in ('daily', 'weekly')) is not true
       and becomes.email and becomes.frequency in ('daily', 'weekly')
$$;

-- Whoever writes recipients, their mornings are known.
create function hark.mornings_noted() returns trigger language plpgsql
    security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into hark.slot (frequency, zone, digest_at, digest_weekday)
    select frequency, zone, digest_at, digest_weekday
      from (select distinct zone, digest_at, digest_weekday from now_is) morning,
           unnest(array['daily', 'weekly']::hark.frequency[]) as frequency
     where not exists (
               select from hark.slot s
                where s.frequency = frequency.frequency and s.zone = morning.zone
                  and s.digest_at is not distinct from morning.digest_at
                  and s.digest_weekday is not distinct from morning.digest_weekday)
     order by 1, 2, 3, 4
        on conflict do nothing;
    return null;
end
$$;
create trigger mornings_noted_of_new after insert on hark.recipient
    referencing new table as now_is for each statement execute function hark.mornings_noted();
create trigger mornings_noted_of_changed after update on hark.recipient
    referencing new table as now_is for each statement execute function hark.mornings_noted();

-- Who may come in by HTTP, and what they changed -----------------------------------------------------------------------

create type hark.scope as enum ('publish', 'subscribe', 'read', 'backfill', 'audit', 'flags');

-- Of a key only its SHA-256 is kept: it is 256 random bits, which nobody can guess back. A name has one key that is neither
-- revoked nor replaced; one that was replaced still opens until `expires_at`.
create table hark.api_key (
    prefix       text collate "C" primary key,
    name         text collate "C" not null check (length(name) between 1 and 100),
    hash         bytea not null check (octet_length(hash) = 32),
    scopes       hark.scope[] not null check (cardinality(scopes) > 0),
    created_at   timestamptz not null,
    expires_at   timestamptz,
    replaced_at  timestamptz check (replaced_at is null or expires_at is not null),
    revoked_at   timestamptz,
    last_used_at timestamptz
);
create unique index api_key_name on hark.api_key (name) where revoked_at is null and replaced_at is null;

create table hark.audit (
    id     bigint generated always as identity primary key,
    at     timestamptz not null,
    who    text collate "C" not null,
    what   text collate "C" not null,
    target text not null,
    detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object')
);
create index audit_who on hark.audit (who, id);
-- Backfills ----------------------------------------------------------------------------------------------------------

create type hark.backfill_state   as enum ('PLANNING', 'PLANNED', 'APPROVED', 'APPLYING', 'PAUSED', 'APPLIED', 'VERIFIED', 'CANCELED', 'FAILED');
create type hark.batch_state      as enum ('WAITING', 'CLAIMED', 'DONE', 'FAILED');
create type hark.backfill_outcome as enum ('applied', 'drifted', 'quarantined');

create table hark.backfill (
    id           bigint generated always as identity primary key,
    kind         text collate "C" not null,
    request      jsonb not null check (jsonb_typeof(request) = 'object'),
    cohort_id    bigint,
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
    to_stage     jsonb,
    stalled_at   timestamptz,
    plan_attempt integer not null default 0 check (plan_attempt >= 0),
    plan_due_at  timestamptz,
    waited       jsonb not null default '{}',
    forgotten_at timestamptz,
    constraint window_has_two_ends check (opens is null and closes is null or coalesce(opens <> closes, false)),
    constraint planned_has_hash check (state in ('PLANNING', 'CANCELED', 'FAILED') or hash is not null),
    constraint approved_by_another check (approved_by <> created_by),
    constraint verified_compared_some check (state <> 'VERIFIED' or compared > 0),
    constraint planned_has_cohort check (cohort_id is not null or to_stage is not null and state in ('PLANNING', 'CANCELED', 'FAILED'))
) with (fillfactor = 50);
create index backfill_active on hark.backfill (id) where state in ('PLANNING', 'APPLYING');
create index backfill_unmeasured on hark.backfill (id) where state = 'PLANNED' and rehearsal is null and to_change > 0;

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
    ('APPLIED',  'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.'),
    ('APPLIED',  'VERIFIED', 'Read again: all that does not hold is explained.'),
    ('VERIFIED', 'APPLYING', 'What failed is applied again, and only that.'),
    ('VERIFIED', 'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.'),
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
    lock_waits  integer not null default 0 check (lock_waits between 0 and attempt),
    planned_at  timestamptz,
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
    since        jsonb,
    chose        jsonb,
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


-- How far back digests are kept ----------------------------------------------------------------------------------------

-- Digests planned before this were pruned, as far as coverage did not need them: what follows them has a beginning that is
-- not there any more.
create table hark.digest_kept (
    since timestamptz primary key
);

-- What a feed gave and a digest cannot hold breaks the statement that plans it, so that only its recipient is passed over.
create function hark.refuse_item() returns jsonb language plpgsql as $$
begin
    raise exception 'hark: a feed gave an item that no digest can hold: its key is null or empty, its time is not between the years 1900 and 9999, or its payload is no JSON object'
        using errcode = '22023';
end
$$;

-- SHA-256 in hex over what a batch would do: the same whenever and by whomever it is planned.
create function hark.backfill_digest(backfill bigint, batch integer)
returns text language sql stable parallel safe as $$
    select encode(sha256(convert_to(f.kind || f.request || coalesce(string_agg(p.members::text || p.change, '' order by p.number), ''), 'UTF8')), 'hex')
      from hark.backfill f
      left join hark.backfill_part p
        on p.backfill_id = f.id and p.batch = backfill_digest.batch and p.change is not null
     where f.id = backfill_digest.backfill
     group by f.id
$$;

-- Since when feeds are told, once a backfill is taken back that said so at `at`: for `reasons` what was there before, if
-- nothing has been said since. What it took away comes back, too; not that somebody had left, for they may be back.
create function hark.since_taken_back(since jsonb, was jsonb, reasons jsonb, at timestamptz)
returns jsonb language sql stable parallel safe as $$
    select coalesce(jsonb_object_agg(each.key, each.value) filter (where each.value is not null), '{}')
      from (select key, case when was is not null and reasons ? key and not value ? 'left' and (value ->> 'at')::timestamptz = since_taken_back.at
                             then was -> key else value end as value
              from jsonb_each(since_taken_back.since)
            union all
            select key, value from jsonb_each(was) where reasons ? key and not since_taken_back.since ? key and not value ? 'left') each
$$;

-- Whether the channels of one of `reasons` (its keys) were chosen since `chose` said what was `seen`. That nothing is said any
-- more is no choice, but a loss.
create function hark.chosen_since(chose jsonb, seen jsonb, reasons jsonb)
returns boolean language sql immutable parallel safe as $$
    select chose <> '{}' and exists (select from jsonb_object_keys(reasons) reason
                                      where chose ? reason and chose -> reason is distinct from seen -> reason)
$$;

-- Whether the channels for a reason stand as one that a backfill changed was left by it, and were not chosen since.
create function hark.left_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select item.outcome = 'applied' and (coalesce(item.before, '{}') ? reason or coalesce(item.after, '{}') ? reason)
       and channels -> reason is not distinct from item.after -> reason
       and hark.chosen_since(chose, item.chose, jsonb_build_object(reason, null)) is not true
$$;

-- What backfills did to the channels for a reason behind a point of the journal (`at`, and which backfill) and what is in force of
-- it, in its order: what they had, and what they got. What was undone is not in force, and neither is its undoing: both
-- together changed nothing. Of what was undone and is forgotten, when it was begun says whether it came behind that point.
-- It is asked of one user after the other: to plan that anew each time would take longer than to do it.
create function hark.done_since(whose text, reason text, at timestamptz, behind bigint)
returns table (which bigint, had jsonb, got jsonb) language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
declare
    done record;
    ids bigint[] := '{}';
    undoing bigint[] := '{}';
    hads jsonb[] := '{}';
    gots jsonb[] := '{}';
    taking bigint[] := '{}';
    taken bigint[] := '{}';
begin
    for done in
        select i.backfill_id as id, i.before -> reason as had, i.after -> reason as got, f.undoes,
               undone.forgotten_at is not null and undone.started_at >= done_since.at as of_forgotten
          from hark.backfill_item i
          join hark.backfill f on f.id = i.backfill_id
          left join hark.backfill undone on undone.id = f.undoes
         where i.recipient_id = whose and i.outcome = 'applied' and (i.at, i.backfill_id) > (done_since.at, behind)
           and (coalesce(i.before, '{}') ? reason or coalesce(i.after, '{}') ? reason)
         order by i.at desc, i.backfill_id desc
    loop
        if done.id = any (taking) then
            taken := taken || done.id;
            continue;
        end if;
        taking := taking || done.undoes;
        if done.of_forgotten is not true then
            ids := array_prepend(done.id, ids);
            undoing := array_prepend(done.undoes, undoing);
            hads := array_prepend(done.had, hads);
            gots := array_prepend(done.got, gots);
        end if;
    end loop;
    for each in 1 .. cardinality(ids) loop
        if (undoing[each] = any (taken)) is not true then
            which := ids[each];
            had := hads[each];
            got := gots[each];
            return next;
        end if;
    end loop;
end
$$;

-- Whether backfills left the channels for some reasons (its keys) alone since then; not, if nobody knows since when.
create function hark.undisturbed(whose text, reasons jsonb, at timestamptz, behind bigint)
returns boolean language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
begin
    if undisturbed.at is null then
        return false;
    end if;
    if not exists (select from hark.backfill_item later
                    where later.recipient_id = whose and later.outcome = 'applied'
                      and (later.at, later.backfill_id) > (undisturbed.at, behind)) then
        return true;
    end if;
    return not exists (select from jsonb_object_keys(reasons) reason
                        cross join lateral hark.done_since(whose, reason, undisturbed.at, behind));
end
$$;

-- Which backfill made it that the channels for a reason are not as `wanted` any more, though they were when it came: by its
-- journal it had it so, and left it otherwise. None, where they were otherwise before it: then something else had done it; nor
-- one whose own undo is forgotten.
create function hark.taken_by(whose text, reason text, wanted jsonb, at_least boolean, at timestamptz, behind bigint)
returns bigint language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
declare
    done record;
    taker bigint;
    was_so boolean;
    is_so boolean;
begin
    for done in select d.which, d.had, d.got from hark.done_since(whose, reason, taken_by.at, behind) d loop
        was_so := case when at_least then coalesce(done.had @> wanted, false) else done.had is not distinct from wanted end;
        is_so := case when at_least then coalesce(done.got @> wanted, false) else done.got is not distinct from wanted end;
        if not (was_so and is_so) then
            taker := case when was_so then done.which end;
            exit;
        end if;
    end loop;
    if exists (select from hark.backfill undo
                where undo.undoes = taker and undo.forgotten_at is not null
                  and exists (select from hark.backfill_batch b where b.backfill_id = undo.id and b.applied > 0)) then
        return null;
    end if;
    return taker;
end
$$;

-- As `left_by`, and none changed it since, unless that was undone: what stands is that one's own.
create function hark.left_last_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select hark.left_by(item, reason, channels, chose)
       and hark.undisturbed(item.recipient_id, jsonb_build_object(reason, null), item.at, item.backfill_id)
$$;

-- Whether what a backfill did was taken back, and not restored since: by the latest undo that changed something, if that was
-- not taken back in turn. One that was called off when it had ended did what it could.
create function hark.taken_back(which bigint)
returns boolean language sql stable parallel safe as $$
    with recursive back (id, depth) as (
        select which, 0
         union all
        select undo.id, back.depth + 1
          from back
         cross join lateral (
            select u.id
              from hark.backfill u
             where u.undoes = back.id
               and (u.state in ('APPLIED', 'VERIFIED')
                    or u.state = 'CANCELED'
                       and not exists (select from hark.backfill_batch b where b.backfill_id = u.id and b.state <> 'DONE'))
               and exists (select from hark.backfill_batch b where b.backfill_id = u.id and b.applied > 0)
             order by u.id desc
             limit 1
         ) undo
    )
    select max(depth) % 2 = 1 from back
$$;

-- Backfills that are forgotten, and may have changed what this one did for the same reasons: after it, or at the same time.
create function hark.forgotten_since(which bigint)
returns bigint[] language sql stable parallel safe as $$
    select array(select f.id
                   from hark.backfill b
                   join hark.backfill f on f.id <> b.id and f.kind = b.kind and f.forgotten_at is not null and f.ended_at > b.started_at
                    and f.request -> 'reasons' ?| array(select jsonb_array_elements_text(b.request -> 'reasons'))
                  where b.id = which
                    and exists (select from hark.backfill_batch d where d.backfill_id = f.id and d.applied > 0)
                  order by f.id)
$$;

-- Flags -------------------------------------------------------------------------------------------------------------

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
-- What people bought -------------------------------------------------------------------------------------------------

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
) with (fillfactor = 90);
create unique index fact_key on hark.fact (key);
create index fact_product on hark.fact (product_id, user_id);

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

-- How far a user's facts have moved on, and how far of that the graph has (-2 and less: it is to be written anew). `oldest_at`: no fact that counts is older.
-- `ahead_since`: since when it is behind; whoever is known first is written twice in one transaction, which fits into one page.
-- `recast_at`: as of which version a purchase left a sum that it does not name any more: a graph that is behind that gets all.
create table hark.history_user (
    user_id        text collate "C" primary key check (length(user_id) between 1 and 255),
    version        bigint not null default 0 check (version >= 0),
    projected      bigint not null default -1,
    changed_at     timestamptz not null,
    ahead_since    timestamptz default now(),
    oldest_at      timestamptz,
    last_loaded_at timestamptz,
    loaded_epoch   bigint,
    recast_at      bigint not null default 9223372036854775807 check (recast_at >= 0),
    constraint projected_at_most check (projected <= version),
    constraint ahead_since_when check ((projected < version) = (ahead_since is not null))
) with (fillfactor = 45);
create index history_user_ahead on hark.history_user (ahead_since, user_id) where ahead_since is not null;
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
    projected   bigint not null default -1,
    spread_from text collate "C",
    constraint projected_at_most check (projected <= version)
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

-- Sources of what people bought ---------------------------------------------------------------------------------------

-- One row a source. `recent` are the moments of the last requests, oldest first, each the latest at which it can have
-- arrived; the last of them is number `taken`. `held_until`: the source asked to be left alone. `failures` in a row; from
-- some on it is left alone until `open_until`; those up to number `opened_at` do not count again.
create table hark.source_pace (
    source     text collate "C" primary key,
    taken      bigint not null default 0 check (taken >= 0),
    recent     timestamptz[] not null default '{}',
    held_until timestamptz,
    failures   integer not null default 0 check (failures >= 0),
    open_until timestamptz,
    opened_at  bigint not null default 0
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
-- The projection of the facts into the graph: one projector at a time.
create table hark.projector (
    only_one    boolean primary key default true check (only_one),
    holder      text,
    lease_until timestamptz,
    constraint held_until check ((holder is null) = (lease_until is null))
);
insert into hark.projector default values;

-- Live ingestion ------------------------------------------------------------------------------------------------------

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
