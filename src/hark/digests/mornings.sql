-- name: look
-- When there is something to do: read from the ends of two indexes, whatever the number of recipients.
-- A restored dump brings moments along whose transactions its new server has not had yet.
select (select case next_due when '-infinity' then %(now)s else next_due - %(lead)s end
          from hark.slot order by next_due limit 1) as slot_at,
       (select retry_at from hark.walk
         where done_at is null and reason = any(%(reasons)s::text[]) order by retry_at limit 1) as walk_at,
       coalesce((select pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot())
                   from hark.moment order by at desc limit 1), false) as gone_back

-- name: timed
-- New mornings, and those of another calendar than before, begin with the next one.
update hark.slot s
   set next_due = hark.next_local(%(now)s, s.zone, by.due_time, by.due_weekday),
       due_time = by.due_time, due_weekday = by.due_weekday
  from (select id, coalesce(digest_at, %(at)s) as due_time,
               case frequency when 'weekly' then coalesce(digest_weekday, %(weekday)s::smallint) end as due_weekday
          from hark.slot where next_due = '-infinity') by
 where by.id = s.id and s.next_due = '-infinity'

-- name: opened
-- Mornings that come within the lead: a walk for each reason, for the latest morning only, and the slot moves on.
-- A walk that had not come to its end takes the new morning on: one digest, not one for each that was missed.
with ready as (
    select id, frequency, zone, next_due, hark.last_local(%(horizon)s, zone, due_time, due_weekday) as due_at
      from hark.slot
     where next_due <= %(horizon)s and next_due > '-infinity'
     order by next_due
     limit %(limit)s
       for update skip locked
),
moved as (
    update hark.slot s
       set next_due = hark.next_local(ready.due_at + interval '1 microsecond', s.zone, s.due_time, s.due_weekday)
      from ready
     where s.id = ready.id
),
walks as (
    insert into hark.walk as w (slot_id, reason, due_at, period, missed, opened_at, retry_at)
    select ready.id, reason.name, ready.due_at, (ready.due_at at time zone zone)::date,
           greatest((ready.due_at at time zone zone)::date - (ready.next_due at time zone zone)::date, 0)
               / case frequency when 'weekly' then 7 else 1 end,
           %(now)s, %(now)s
      from ready, unnest(%(reasons)s::text[]) as reason(name)
     order by ready.id, reason.name
        on conflict (slot_id, reason) do update
           set due_at = excluded.due_at, period = excluded.period, opened_at = excluded.opened_at,
               missed = excluded.missed + case when w.done_at is null then w.missed + 1 else 0 end,
               retry_at = excluded.retry_at, done_at = null, reached = '', asked = 0, planned = 0, failures = 0,
               fault = case when w.passed_over = 0 then w.fault end, passed_over = 0
         where w.due_at < excluded.due_at
    returning w.missed
),
noted as (
    insert into hark.moment (at, snapshot)
    select %(now)s, pg_current_snapshot() where exists (select from ready)
        on conflict (at) do nothing
),
pruned as (
    delete from hark.moment
     where not base and at < (select max(at) from hark.moment where at <= %(kept_since)s)
)
select (select count(*) from ready) as slots,
       (select count(*) from walks) as walks,
       (select coalesce(max(missed), 0) from walks) as missed

-- name: declared
insert into hark.feed as f (reason, cap, overlap)
select * from unnest(%(reasons)s::text[], %(caps)s::int[], %(overlaps)s::interval[])
    on conflict (reason) do update set cap = excluded.cap, overlap = excluded.overlap
 where (f.cap, f.overlap) is distinct from (excluded.cap, excluded.overlap)

-- name: calendar_kept
-- Another calendar moves the mornings of those who have none of their own.
update hark.slot
   set next_due = '-infinity'
 where next_due > '-infinity'
   and (digest_at is null and due_time is distinct from %(at)s
        or frequency = 'weekly' and digest_weekday is null and due_weekday is distinct from %(weekday)s::smallint)
