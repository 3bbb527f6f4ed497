-- Sources of what people bought: when each was asked, by all workers together, and whether it may be asked just now.

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
