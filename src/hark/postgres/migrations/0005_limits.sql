-- Limits: how many messages in a while, in all and to one recipient.

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

-- Claims that ended at the cap: they use up no attempts, and `attempt` itself must never go back, for it fences zombies.
alter table hark.delivery
    add column held_back integer not null default 0 check (held_back between 0 and attempt);

update hark.delivery_transition
   set sentence = 'The lease ran out, rendering failed for now, or its recipient''s cap is reached; nothing was handed over.'
 where (from_state, from_outcome, to_state, to_outcome) = ('SENDING', 'none', 'PENDING', 'none');

-- Deliveries of everybody, newest first.
create index delivery_newest on hark.delivery (id);
