-- name: create
with made as (
    insert into hark.backfill (kind, request, cohort_id, to_stage, undoes, batch_size, rate, adaptive, opens, closes, zone,
                               approval_over, notify, next_at, created_by, created_at, changed_by, changed_at)
    values (%(kind)s, %(request)s, %(cohort)s, %(to_stage)s, %(undoes)s, %(batch_size)s, %(rate)s, %(adaptive)s, %(opens)s, %(closes)s,
            %(zone)s, %(approval_over)s, %(notify)s, %(now)s, %(who)s, %(now)s, %(who)s, %(now)s)
    returning id
),
noted as (
    insert into hark.backfill_event (backfill_id, at, who, what, to_state)
    select id, %(now)s, %(who)s, 'created', 'PLANNING' from made
)
select id from made

-- name: hold_unplanned
select id, kind, request, cohort_id, undoes, batch_size, reached, batches
  from hark.backfill
 where id = %(backfill)s and state = 'PLANNING' and cohort_id is not null
   for no key update skip locked

-- name: put_batch
insert into hark.backfill_batch (backfill_id, number, state, due_at, members, to_change, digest, changed_at, planned_at)
values (%(backfill)s, %(number)s, %(state)s, %(now)s, %(members)s, %(to_change)s, '', %(now)s, %(now)s)

-- name: digest
-- Of the batches behind one: over what they would do, as `fence` in batches.sql looks at it again.
update hark.backfill_batch
   set digest = hark.backfill_digest(backfill_id, number)
 where backfill_id = %(backfill)s and number > %(behind)s

-- name: put_part
insert into hark.backfill_part (backfill_id, batch, number, user_type, outcomes, change, promise, users, members)
values (%(backfill)s, %(batch)s, %(number)s, %(user_type)s, %(outcomes)s, %(change)s, %(promise)s, %(users)s, %(members)s)

-- name: progress
update hark.backfill
   set reached = %(reached)s, batches = batches + %(batches)s, members = members + %(members)s,
       to_change = to_change + %(to_change)s, plan_attempt = 0, plan_due_at = null, why = ''
 where id = %(backfill)s

-- name: seal
update hark.backfill b
   set state = 'PLANNED', changed_at = %(now)s, changed_by = created_by, why = '', plan_attempt = 0, plan_due_at = null,
       hash = (select encode(sha256(convert_to(coalesce(string_agg(digest, '' order by number), ''), 'UTF8')), 'hex')
                 from hark.backfill_batch where backfill_id = b.id)
 where id = %(backfill)s and state = 'PLANNING'

-- name: unplannable
update hark.backfill
   set state = 'FAILED', changed_at = %(now)s, changed_by = %(who)s, why = %(why)s, ended_at = %(now)s
 where id = %(backfill)s and state = 'PLANNING'
