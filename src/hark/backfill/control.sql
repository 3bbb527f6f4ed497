-- name: stand
select id, state::text as state, cohort_id, undoes, created_by, approved_by, to_change, approval_over, hash,
       forgotten_at
  from hark.backfill
 where id = %(backfill)s

-- name: forgotten_since
select hark.forgotten_since(%(backfill)s) as ids

-- name: alone
-- Batches hold it shared: it is had when none is under way, and none begins until this transaction ends.
select set_config('lock_timeout', %(patience)s, true), pg_advisory_xact_lock(1751216747, (%(backfill)s::bigint %% 2147483647)::int)

-- name: approve
update hark.backfill
   set state = 'APPROVED', approved_by = %(who)s, why = '', changed_by = %(who)s, changed_at = %(now)s
 where id = %(backfill)s and state = 'PLANNED' and created_by <> %(who)s
returning state::text as state

-- name: hash
-- Over the plan as it stands now.
select encode(sha256(convert_to(coalesce(string_agg(digest, '' order by number), ''), 'UTF8')), 'hex') as hash
  from hark.backfill_batch where backfill_id = %(backfill)s

-- name: apply
with moved as (
    update hark.backfill
       set state = 'APPLYING', why = '', next_at = %(now)s, started_at = coalesce(started_at, %(now)s), ended_at = null,
           changed_by = %(who)s, changed_at = %(now)s
     where id = %(backfill)s and forgotten_at is null
       and not exists (select from hark.backfill undone where undone.id = backfill.undoes and undone.forgotten_at is not null)
       and (undoes is null or hark.forgotten_since(undoes) = '{}')
       and (state in ('APPROVED', 'FAILED') and hash is not null
            or state = 'PLANNED' and (approval_over is null or to_change <= approval_over))
    returning id, state
),
again as (
    update hark.backfill_batch b
       set state = 'WAITING', attempt = 0, lock_waits = 0, due_at = %(now)s, why = ''
      from moved
     where b.backfill_id = moved.id and b.state = 'FAILED'
)
select state::text as state from moved

-- name: pause
update hark.backfill
   set state = 'PAUSED', why = '', changed_by = %(who)s, changed_at = %(now)s
 where id = %(backfill)s and state = 'APPLYING'
returning state::text as state

-- name: resume
update hark.backfill
   set state = 'APPLYING', why = '', next_at = %(now)s, changed_by = %(who)s, changed_at = %(now)s
 where id = %(backfill)s and state = 'PAUSED'
returning state::text as state

-- name: cancel
-- Whom it was to apply again and did not is quarantined as before. Of an undo that has ended, those are left as they are whom
-- it could not take back: what it takes back may be forgotten then.
with moved as (
    update hark.backfill
       set state = 'CANCELED', why = '', ended_at = coalesce(ended_at, %(now)s), changed_by = %(who)s, changed_at = %(now)s
     where id = %(backfill)s
       and (state in ('PLANNING', 'PLANNED', 'APPROVED', 'APPLYING', 'PAUSED', 'FAILED')
            or state in ('APPLIED', 'VERIFIED') and undoes is not null
               and exists (select from hark.backfill_batch d where d.backfill_id = backfill.id and d.quarantined > 0))
    returning id, state
),
as_before as (
    update hark.backfill_batch b
       set state = 'DONE', lease_until = null, retried = null, quarantined = b.quarantined + cardinality(b.retried), changed_at = %(now)s
      from moved
     where b.backfill_id = moved.id and b.state in ('WAITING', 'CLAIMED') and b.retried is not null
)
select state::text as state from moved

-- name: speed
-- What is not named stays. Of one that has ended, nothing is changed; what failed of it may still be applied.
update hark.backfill
   set rate = case when %(any_rate)s then null else coalesce(%(rate)s, rate) end,
       adaptive = coalesce(%(adaptive)s, adaptive),
       opens = case when %(any_time)s then null else coalesce(%(opens)s, opens) end,
       closes = case when %(any_time)s then null else coalesce(%(closes)s, closes) end,
       zone = coalesce(%(zone)s, zone), next_at = %(now)s
 where id = %(backfill)s and state not in ('APPLIED', 'VERIFIED', 'CANCELED')
returning rate, adaptive, opens, closes, zone

-- name: note_speed
insert into hark.backfill_event (backfill_id, at, who, what, detail) values (%(backfill)s, %(now)s, %(who)s, 'speed', %(said)s)

-- name: stop_all
with turned as (
    update hark.backfill_switch set stopped = %(stopped)s, who = %(who)s, at = %(now)s where stopped <> %(stopped)s returning stopped
),
noted as (
    insert into hark.backfill_event (backfill_id, at, who, what)
    select b.id, %(now)s, %(who)s, case when turned.stopped then 'stopped with all' else 'released with all' end
      from turned cross join hark.backfill b
     where b.state = 'APPLYING'
)
select stopped from turned

-- name: applying
select id from hark.backfill where state = 'APPLYING' order by id
