-- Digests: what feeds answer, each in the reader's own morning, covered by commit order.

create type hark.digest_base as enum ('first', 'returned', 'rebased');

-- When a recipient came back to a reason of which they had not been told: what was before that is not news to them.
alter table hark.preference
    add column since jsonb not null default '{}' check (jsonb_typeof(since) = 'object');

-- Which reasons have feeds, as the last planner's catalogue says.
create table hark.feed (
    reason  text collate "C" primary key,
    cap     integer not null check (cap > 0),
    overlap interval not null check (overlap >= interval '0')
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
    primary key (recipient_id, reason, period)
);
create index digest_delivery on hark.digest (recipient_id, delivery_id);

create index recipient_morning on hark.recipient
    (zone, (coalesce(digest_at, time '24:00')), (coalesce(digest_weekday, -1::smallint)), id);

-- The last moment at or before `moment` that is `due_time` in `zone` (on `due_weekday`, 0 = Monday, unless null).
create function hark.last_local(moment timestamptz, zone text, due_time time, due_weekday smallint)
returns timestamptz language sql stable parallel safe as $$
    select max(due) from (
        select ((moment at time zone zone)::date - back + due_time) at time zone zone as due
          from generate_series(-1, 8) as back
         where due_weekday is null
            or extract(isodow from (moment at time zone zone)::date - back) = due_weekday + 1
    ) candidate where due <= moment
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

insert into hark.slot (frequency, zone, digest_at, digest_weekday)
select frequency, zone, digest_at, digest_weekday
  from (select distinct zone, digest_at, digest_weekday from hark.recipient) morning,
       unnest(array['daily', 'weekly']::hark.frequency[]) as frequency;
