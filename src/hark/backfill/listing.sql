-- name: backfills
select id, kind, state::text as state, undoes, members, to_change, created_by, created_at, changed_at, why
  from hark.backfill
 where id < %(before)s
 order by id desc
 limit %(limit)s

-- name: held
select stopped from hark.backfill_switch

-- name: head
select b.id, b.kind, b.state::text as state, b.undoes,
       array(select u.id from hark.backfill u
              where u.undoes = b.id and not hark.taken_back(u.id)
                and exists (select from hark.backfill_batch d where d.backfill_id = u.id and d.applied > 0)
              order by u.id) as undone_by,
       b.request, b.cohort_id, b.batch_size, b.rate, b.adaptive,
       to_char(b.opens, 'HH24:MI') || '-' || to_char(b.closes, 'HH24:MI') || ' ' || b.zone as "window",
       b.approval_over, b.hash, b.rehearsal, b.created_by, b.created_at, b.approved_by, b.started_at, b.ended_at,
       b.compared, b.holding, b.why, b.forgotten_at, (select stopped from hark.backfill_switch) as held_with_all,
       hark.forgotten_since(b.id) as forgotten_since
  from hark.backfill b
 where b.id = %(backfill)s

-- name: totals
select count(*)::int as batches, (count(*) filter (where state = 'DONE'))::int as batches_done,
       (count(*) filter (where state = 'FAILED'))::int as batches_failed,
       coalesce(sum(members), 0)::bigint as members, coalesce(sum(members) filter (where state = 'DONE'), 0)::bigint as done,
       coalesce(sum(to_change), 0)::bigint as to_change, coalesce(sum(applied), 0)::bigint as applied,
       coalesce(sum(drifted), 0)::bigint as drifted, coalesce(sum(quarantined), 0)::bigint as quarantined,
       coalesce(sum(took), interval '0') as took, max(changed_at) filter (where state = 'DONE') as last_at
  from hark.backfill_batch
 where backfill_id = %(backfill)s

-- name: counts
select o.key as subject, p.user_type, o.value as outcome, sum(p.users)::bigint as users
  from hark.backfill_part p
 cross join lateral jsonb_each_text(p.outcomes) o
 where p.backfill_id = %(backfill)s
 group by 1, 2, 3
 order by 1, 2, 4 desc, 3

-- name: samples
-- One example of each combination of outcomes, from the first batches.
select recipient_id, user_type, outcomes, before, after
  from (select distinct on (p.user_type, p.outcomes)
               p.members[1] as recipient_id, p.user_type, p.outcomes, p.change -> 'before' as before, p.change -> 'after' as after,
               p.batch
          from hark.backfill_part p
         where p.backfill_id = %(backfill)s and p.batch <= 20 and p.members <> '{}'
         order by p.user_type, p.outcomes, p.change is null, p.batch, p.number) each
 order by after is null, batch, recipient_id
 limit %(samples)s

-- name: waited
select w.key as why, sum(w.value::float8)::float8 as seconds
  from (select waited from hark.backfill_batch where backfill_id = %(backfill)s
        union all
        select waited from hark.backfill where id = %(backfill)s) kept
 cross join lateral jsonb_each_text(kept.waited) w
 group by 1
 order by 2 desc

-- name: events
select at, who, what, from_state::text as from_state, to_state::text as to_state, detail
  from hark.backfill_event
 where backfill_id = %(backfill)s
 order by id desc
 limit %(events)s

-- name: members
select m.id as recipient_id, p.user_type, p.outcomes
  from hark.backfill_part p
 cross join lateral unnest(p.members) as m(id)
 where p.backfill_id = %(backfill)s
   and exists (select from jsonb_each_text(p.outcomes) o where o.value = %(outcome)s)
   and m.id > %(after)s
 order by m.id
 limit %(limit)s
