-- name: some_known
-- A sample that nobody chose: each audit takes another one.
select user_id as id from hark.history_user order by random() limit %(many)s

-- name: some_unknown
select r.id
  from hark.recipient r
 where not exists (select from hark.history_user u where u.user_id = r.id)
 order by random()
 limit %(many)s

-- name: all_known
select user_id as id from hark.history_user where user_id > %(after)s order by user_id limit %(limit)s

-- name: all_unknown
select r.id
  from hark.recipient r
 where r.id > %(after)s and not exists (select from hark.history_user u where u.user_id = r.id)
 order by r.id
 limit %(limit)s

-- name: some_of_run
select id
  from (select distinct user_id as id from hark.history_step where backfill_id = %(run)s and state = 'DONE') loaded
 order by random()
 limit %(many)s

-- name: all_of_run
select distinct user_id as id
  from hark.history_step
 where backfill_id = %(run)s and state = 'DONE' and user_id > %(after)s
 order by user_id
 limit %(limit)s

-- name: facts
select user_id, key, version, product_id, store_id, amount_minor, currency, quantity, occurred_at, deleted
  from hark.fact
 where user_id = %(user)s

-- name: loaded
-- How far back loads brought a user's facts; not what was taken back again. Whom an undo took out is not loaded.
select s.kind::text as kind, min(s.since) as since
  from hark.fact_snapshot s
  join hark.history_user u on u.user_id = s.user_id
 where s.user_id = %(user)s and u.last_loaded_at is not null
   and not exists (select from hark.backfill b
                     left join hark.backfill_item back on back.backfill_id = b.id and back.recipient_id = s.user_id
                    where b.undoes = s.run
                      and (back.outcome = 'applied'
                           or b.forgotten_at is not null
                              and exists (select from hark.backfill_batch d where d.backfill_id = b.id and d.applied > 0)))
 group by s.kind
