-- name: kind
select kind from hark.backfill where id = %(backfill)s

-- name: batches
select number from hark.backfill_batch where backfill_id = %(backfill)s and number > %(after)s order by number limit 200

-- name: behind
-- The batches with users behind one, by whom each begins with: of some kinds, batches lie across each other.
select batch as number, min(members[1]) as first
  from hark.backfill_part
 where backfill_id = %(backfill)s and members <> '{}'
 group by batch
having max(members[cardinality(members)]) > %(after)s
 order by first, batch

-- name: undone_by
-- Those that took back some of it at least, and were not taken back themselves.
select u.id
  from hark.backfill u
 where u.undoes = %(backfill)s and exists (select from hark.backfill_batch d where d.backfill_id = u.id and d.applied > 0)
   and not hark.taken_back(u.id)
 order by u.id

-- name: keep
with kept as (
    update hark.backfill
       set compared = %(compared)s, holding = %(holding)s, changed_by = %(who)s, changed_at = %(now)s, why = %(said)s,
           state = case when state = 'APPLIED' and %(good)s then 'VERIFIED'
                        when state = 'VERIFIED' and not %(good)s then 'APPLIED'
                        else state::text end::hark.backfill_state
     where id = %(backfill)s
    returning id
)
insert into hark.backfill_event (backfill_id, at, who, what, detail)
select id, %(now)s, %(who)s, 'looked at', %(said)s from kept
