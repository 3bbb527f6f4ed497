-- name: begin
insert into hark.history_run (backfill_id, stage, flag_version, changed_at)
values (%(run)s, %(stage)s::hark.history_stage, %(version)s, %(now)s)
    on conflict do nothing

-- name: stand
select stage::text as stage, reached, flag_version, ends, waits_for, changed_at
  from hark.history_run
 where backfill_id = %(run)s

-- name: hold
-- Of the session: no transaction is open while users are let in, page by page, or out.
select pg_try_advisory_lock(1751216749, (%(run)s::bigint %% 2147483647)::int) as held

-- name: let_go
select pg_advisory_unlock(1751216749, (%(run)s::bigint %% 2147483647)::int) as held

-- name: let_in
update hark.history_run
   set reached = %(reached)s, flag_version = greatest(flag_version, %(version)s), changed_at = %(now)s
 where backfill_id = %(run)s and stage = 'SEGMENT'

-- name: move
-- Guarded by where it was: of several workers one moves it on, and says so.
with moved as (
    update hark.history_run
       set stage = %(to)s::hark.history_stage, waits_for = '', ends = coalesce(%(ends)s::jsonb, ends),
           audit = coalesce(%(audit)s::jsonb, audit), flag_version = greatest(flag_version, %(version)s), changed_at = %(now)s
     where backfill_id = %(run)s and stage = %(was)s::hark.history_stage
    returning backfill_id
)
insert into hark.backfill_event (backfill_id, at, who, what, detail)
select backfill_id, %(now)s, %(who)s, %(said)s, %(detail)s from moved

-- name: wait_for
update hark.history_run set waits_for = %(waits_for)s, changed_at = %(now)s
 where backfill_id = %(run)s and stage = %(stage)s::hark.history_stage and waits_for <> %(waits_for)s

-- name: flag
select version, is_on, on_since from hark.flag where name = %(flag)s

-- name: still
-- The run is where users are loaded, and its flag was not off since its version was seen to be effective.
select true as held
  from hark.history_run r
  join hark.flag f on f.name = %(flag)s
 where r.backfill_id = %(run)s and r.stage = 'LOAD' and f.is_on and f.on_since <= r.changed_at

-- name: dropped
-- Those of a run who were loaded before its flag was turned on last, or while it is off: the stream has dropped things of them.
select count(distinct s.user_id)::int as users
  from hark.history_step s
  join hark.flag f on f.name = %(flag)s
 where s.backfill_id = %(run)s and s.state = 'DONE' and (not f.is_on or s.loaded_at < f.on_since)

-- name: not_projected
-- One of the run's users whom the graph does not have as they were when they were loaded, if there is one.
select s.user_id
  from hark.history_step s
  join hark.history_user u on u.user_id = s.user_id
 where s.backfill_id = %(run)s and s.state = 'DONE' and u.projected < s.version
 limit 1

-- name: not_taken_back
-- The same of those whom an undo took back.
select s.recipient_id as user_id
  from hark.backfill_item s
  join hark.history_user u on u.user_id = s.recipient_id
 where s.backfill_id = %(run)s
   and u.projected < coalesce((s.after ->> 'version')::bigint, case when u.changed_at <= s.at then u.version end)
 limit 1

-- name: relied_on
-- Whom a run let in, and another one loaded since by the same flag: they stay.
select m.recipient_id as user_id, exists (
        select from hark.history_step s
          join hark.backfill b on b.id = s.backfill_id
         where s.user_id = m.recipient_id and s.state = 'DONE' and s.backfill_id <> %(run)s and b.request ->> 'flag' = %(flag)s
           and not exists (select from hark.backfill u
                             join hark.backfill_item back on back.backfill_id = u.id and back.recipient_id = m.recipient_id
                            where u.undoes = b.id and back.outcome = 'applied')) as relied_on
  from hark.segment_member m
  join hark.flag_segment fs on fs.segment = m.segment and fs.flag = %(flag)s
 where m.segment = %(segment)s
 order by m.recipient_id

-- name: elsewhere
select true as held from hark.flag_segment where segment = %(segment)s and flag <> %(flag)s limit 1

-- name: shown
select stage::text as stage, flag_version, ends, audit, waits_for, changed_at,
       (select count(*) from hark.history_step s where s.backfill_id = r.backfill_id and s.state = 'WAITING') as waiting,
       (select count(*) from hark.history_step s where s.backfill_id = r.backfill_id and s.state = 'DONE') as done,
       (select count(*) from hark.history_step s where s.backfill_id = r.backfill_id and s.state = 'QUARANTINED') as quarantined
  from hark.history_run r
 where backfill_id = %(run)s

-- name: segment
select true as held from hark.flag_segment where flag = %(flag)s and segment = %(segment)s
