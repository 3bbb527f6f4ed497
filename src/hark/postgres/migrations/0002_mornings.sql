-- Each in the reader's own morning: when a recipient wants daily and weekly messages; null: when the catalogue says.

alter table hark.recipient
    add column digest_at      time,
    add column digest_weekday smallint check (digest_weekday between 0 and 6);

-- A digest may hold nothing but what feeds answered: then it has no events.
alter table hark.delivery
    alter column first_event drop not null,
    alter column last_event drop not null;
