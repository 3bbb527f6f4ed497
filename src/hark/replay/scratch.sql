-- name: hold
-- Held as long as the connection lives; 'hrpl'.
select pg_try_advisory_lock(1752330348, %(number)s::int) as locked

-- name: unlogged
-- Vacuum comes from the replay itself, see the engine.
alter table hark.event set unlogged, set (autovacuum_enabled = off);
alter table hark.notification set unlogged, set (autovacuum_enabled = off);
alter table hark.delivery set unlogged, set (autovacuum_enabled = off);
alter table hark.delivery_history set unlogged, set (autovacuum_enabled = off);
alter table hark.recipient set unlogged
