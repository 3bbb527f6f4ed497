-- A digest of which nothing was said covers nothing, though its message was sent for the sake of something else.

-- Of which reasons' digests a message says nothing, and why: `items` where each was left out by itself.
alter table hark.delivery
    add column silent jsonb check (jsonb_typeof(silent) = 'object');

-- How often in a row, before this one, all that was asked about had been left out: so many more are asked about now.
alter table hark.digest
    add column tried integer not null default 0 check (tried >= 0);

-- What a recipient muted is no news to them: looked up for all that are planned together.
create index subscription_muted_by on hark.subscription (recipient_id, entity) where muted;
