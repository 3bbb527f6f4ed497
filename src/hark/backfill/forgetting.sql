-- name: look
-- Of one that was forgotten, only what is left, as the forgetting was cut short, is counted. `undone`: what it took back and is not
-- forgotten, and what that took back, and so on: of each user, only its journal says so. `outlived`: those that changed the same
-- reasons before it ended, and cannot be undone then, for nobody knows what it changed of theirs; `asking`: undos of those.
select b.kind, b.state::text as state, b.cohort_id, b.forgotten_at,
       kept.members, kept.journaled,
       coalesce((select c.bad + c.unknown + c.excluded_unknown from hark.cohort c where c.id = b.cohort_id and c.state = 'STAGED'), 0)::bigint as faults,
       array(select u.id from hark.backfill u
              where u.undoes = b.id and u.state not in ('APPLIED', 'VERIFIED', 'CANCELED', 'FAILED')
                and not (u.state in ('PLANNED', 'APPROVED') and u.to_change = 0) order by u.id) as undoing,
       array(select u.id from hark.backfill u
              where u.undoes = b.id and u.state in ('PLANNED', 'APPROVED') and u.to_change = 0 order by u.id) as idle,
       array(select u.id from hark.backfill u
              where u.undoes = b.id and u.state in ('APPLIED', 'VERIFIED', 'FAILED') and u.forgotten_at is null
                and exists (select from hark.backfill_batch d where d.backfill_id = u.id and (d.quarantined > 0 or d.state = 'FAILED'))
              order by u.id) as failing,
       array(with recursive undone (id) as (
                 select b.undoes
                  union all
                 select u.undoes from undone join hark.backfill u on u.id = undone.id
             )
             select f.id
               from undone
               join hark.backfill f on f.id = undone.id and f.forgotten_at is null
              where b.forgotten_at is null
                and exists (select from hark.backfill_batch d where d.backfill_id = b.id and d.applied > 0)
              order by f.id) as undone,
       outlived.ids as outlived,
       array(select u.id from hark.backfill u
              where u.undoes = any (outlived.ids) and u.undoes <> b.id and u.state not in ('APPLIED', 'VERIFIED', 'CANCELED', 'FAILED')
                and not (u.state in ('PLANNED', 'APPROVED') and u.to_change = 0) order by u.id) as asking,
       exists (select from hark.backfill o where o.cohort_id = b.cohort_id and o.id <> b.id and o.forgotten_at is null) as shared
  from hark.backfill b
 cross join lateral (
    select array(select o.id
                   from hark.backfill o
                  where b.forgotten_at is null and o.forgotten_at is null and o.id <> b.id and o.kind = b.kind
                    and o.started_at < b.ended_at and o.request -> 'reasons' ?| array(select jsonb_array_elements_text(b.request -> 'reasons'))
                    and exists (select from hark.backfill_batch d where d.backfill_id = o.id and d.applied > 0)
                    and exists (select from hark.backfill_batch d where d.backfill_id = b.id and d.applied > 0)
                  order by o.id) as ids
 ) outlived
 cross join lateral (
    select b.members, coalesce(sum(applied + drifted + quarantined), 0)::bigint as journaled
      from hark.backfill_batch
     where backfill_id = b.id and b.forgotten_at is null
    having b.forgotten_at is null
     union all
    select count(*), count(i.recipient_id)
      from hark.backfill_part p
     cross join lateral unnest(p.members) as m(id)
      left join hark.backfill_item i on i.recipient_id = m.id and i.backfill_id = b.id
     where p.backfill_id = b.id and b.forgotten_at is not null
    having b.forgotten_at is not null
 ) kept
 where b.id = %(backfill)s

-- name: mark
-- First, so that nothing begins for it meanwhile.
with marked as (
    update hark.backfill set forgotten_at = %(now)s
     where id = %(backfill)s and forgotten_at is null and state in ('APPLIED', 'VERIFIED', 'CANCELED', 'FAILED')
    returning id
)
insert into hark.backfill_event (backfill_id, at, who, what) select id, %(now)s, %(who)s, 'forgotten' from marked

-- name: forget_some
-- Of the next batches: who they were and what they had. How many of them got what stays.
with these as (
    select number from hark.backfill_batch where backfill_id = %(backfill)s and number > %(after)s order by number limit %(batches)s
),
member as materialized (
    select m.id
      from hark.backfill_part p
     cross join lateral unnest(p.members) as m(id)
     where p.backfill_id = %(backfill)s and p.batch in (select number from these)
),
journal as (
    delete from hark.backfill_item i using member m where i.recipient_id = m.id and i.backfill_id = %(backfill)s
),
parts as (
    update hark.backfill_part p set members = '{}', change = null, promise = null
     where p.backfill_id = %(backfill)s and p.batch in (select number from these)
),
batches as (
    update hark.backfill_batch b set retried = null where b.backfill_id = %(backfill)s and b.number in (select number from these) and b.retried is not null
)
select max(number) as last from these

-- name: ownerless
-- Cohorts that were staged for a backfill which was never asked for: who staged them died.
select c.id
  from hark.cohort c
 where c.state = 'STAGED' and c.staged_at < %(before)s
   and not exists (select from hark.backfill b where b.cohort_id = c.id)
 order by c.id
