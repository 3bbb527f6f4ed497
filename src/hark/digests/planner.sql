-- name: taken
-- The next open walk, lent to this planner: should it die, the walk is free again at `lent_until`. Those of a reason whose
-- feed fails come after all others.
with next as (
    select w.slot_id, w.reason
      from hark.walk w
     where w.done_at is null and w.retry_at <= %(now)s and w.reason = any(%(reasons)s::text[])
     order by w.failures, w.retry_at
     limit 1
       for update skip locked
)
update hark.walk w
   set retry_at = %(lent_until)s
  from next, hark.slot s
 where w.slot_id = next.slot_id and w.reason = next.reason and s.id = next.slot_id
returning w.slot_id as slot, w.reason, w.due_at, w.period, w.missed, w.reached,
          s.frequency::text as frequency, s.zone, s.digest_at, s.digest_weekday, w.failures, w.asked,
          w.passed_over, w.retry_at as lent_until

-- name: given_back
-- As it was, to whoever plans its reason just now.
update hark.walk
   set retry_at = %(now)s
 where slot_id = %(slot)s and reason = %(reason)s and due_at = %(due_at)s and reached = %(reached)s and done_at is null
   and retry_at = %(lent_until)s

-- name: failed
-- What is not one recipient's fault would be met again in each of the reason's walks, and takes a planner's time each time:
-- so all of them wait (`all_at`, if not null). It is counted in this one alone.
with this as (
    select slot_id
      from hark.walk
     where slot_id = %(slot)s and reason = %(reason)s and due_at = %(due_at)s and reached = %(reached)s and done_at is null
)
update hark.walk w
   set failures = case when w.slot_id = this.slot_id then %(failures)s else w.failures end,
       fault = case when w.slot_id = this.slot_id or w.fault is null then %(fault)s else w.fault end,
       retry_at = case when w.slot_id = this.slot_id then %(retry_at)s else greatest(w.retry_at, %(all_at)s) end
  from this
 where w.reason = %(reason)s and w.done_at is null and (%(all_at)s::timestamptz is not null or w.slot_id = this.slot_id)
