-- name: begin
-- Both steps of each of these users, if they are not there yet.
insert into hark.history_step (user_id, key, backfill_id, kind, due_at)
select u.id, s.word || '-' || %(run)s::bigint, %(run)s, s.kind, %(now)s
  from unnest(%(users)s::text[]) as u(id)
 cross join (values ('receipt', 'receipt'::hark.fact_kind), ('shop', 'order')) as s(word, kind)
 order by u.id, s.word
    on conflict do nothing

-- name: again
-- Those that were quarantined are asked for once more.
update hark.history_step
   set state = 'WAITING', attempts = 0, due_at = %(now)s, why = ''
 where user_id = any (%(users)s::text[]) and backfill_id = %(run)s and state = 'QUARANTINED'

-- name: due
-- Those who are known to have bought most first: they take longest.
select s.user_id, s.kind::text as kind, s.attempts
  from hark.history_step s
 cross join lateral (select count(*) as facts from hark.fact f where f.user_id = s.user_id) known
 where s.user_id = any (%(users)s::text[]) and s.backfill_id = %(run)s and s.state = 'WAITING' and s.due_at <= %(now)s
 order by known.facts desc, s.user_id, s.kind

-- name: hinted
-- Of steps that messages name, those that are to be done now.
select distinct s.backfill_id as run, s.user_id, s.kind::text as kind, s.attempts
  from unnest(%(runs)s::bigint[], %(users)s::text[], %(kinds)s::hark.fact_kind[]) as h(run, user_id, kind)
  join hark.history_step s on s.user_id = h.user_id and s.backfill_id = h.run and s.kind = h.kind
  join hark.backfill b on b.id = s.backfill_id and b.state in ('APPLYING', 'PAUSED')
 where s.state = 'WAITING' and s.due_at <= %(now)s

-- name: waiting
select min(due_at) as at, max(why) filter (where why <> '') as why
  from hark.history_step
 where user_id = any (%(users)s::text[]) and backfill_id = %(run)s and state = 'WAITING'

-- name: done
-- In the transaction that recorded their facts: what those are now.
update hark.history_step s
   set state = 'DONE', attempts = s.attempts + 1, why = '', watermark = given.watermark, loaded_at = given.loaded_at,
       version = u.version, facts = said.facts, keys = said.keys, hash = said.hash
  from unnest(%(users)s::text[], %(kinds)s::hark.fact_kind[], %(watermarks)s::bigint[], %(moments)s::timestamptz[])
       as given(user_id, kind, watermark, loaded_at)
  join hark.history_user u on u.user_id = given.user_id
 cross join lateral hark.facts_of_run(given.user_id, given.kind, %(run)s) said
 where s.user_id = given.user_id and s.backfill_id = %(run)s and s.kind = given.kind and s.state = 'WAITING'

-- name: loaded
-- Of whom both steps are done now: loaded, from the earlier of the two on, by the version of the flag that was waited for. Whoever
-- records facts of a user holds their row, so of two steps that come at once the later one sees the other.
update hark.history_user u
   set last_loaded_at = both_done.loaded_at,
       loaded_epoch = coalesce((select flag_version from hark.history_run where backfill_id = %(run)s), 0)
  from (select s.user_id, min(s.loaded_at) as loaded_at
          from hark.history_step s
         where s.user_id = any (%(users)s::text[]) and s.backfill_id = %(run)s and s.state = 'DONE'
         group by s.user_id
        having count(*) = 2) both_done
 where u.user_id = both_done.user_id and (u.last_loaded_at is null or u.last_loaded_at < both_done.loaded_at)

-- name: put_off
update hark.history_step s
   set attempts = s.attempts + given.counted, due_at = given.due_at, why = given.why,
       state = case when s.attempts + given.counted >= %(most)s then 'QUARANTINED' else 'WAITING' end::hark.history_step_state
  from unnest(%(users)s::text[], %(kinds)s::hark.fact_kind[], %(moments)s::timestamptz[], %(whys)s::text[], %(counted)s::int[])
       as given(user_id, kind, due_at, why, counted)
 where s.user_id = given.user_id and s.backfill_id = %(run)s and s.kind = given.kind and s.state = 'WAITING'

-- name: quarantine
update hark.history_step s
   set state = 'QUARANTINED', attempts = s.attempts + 1, why = given.why
  from unnest(%(users)s::text[], %(kinds)s::hark.fact_kind[], %(whys)s::text[]) as given(user_id, kind, why)
 where s.user_id = given.user_id and s.backfill_id = %(run)s and s.kind = given.kind and s.state = 'WAITING'

-- name: leave
update hark.history_step
   set state = 'QUARANTINED', attempts = attempts + 1, why = %(why)s
 where user_id = any (%(users)s::text[]) and backfill_id = %(run)s and state = 'WAITING'
