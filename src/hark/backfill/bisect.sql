-- name: to_change
select m.id
  from hark.backfill_part part
 cross join lateral unnest(part.members) as m(id)
 where part.backfill_id = %(backfill)s and part.batch = %(batch)s and part.change is not null
 order by m.id

-- name: patient
select set_config('lock_timeout', %(patience)s, true), set_config('idle_in_transaction_session_timeout', %(idle)s, true)

-- name: hurry
-- Whoever is looked for because others hold their rows: the rest of the batch is held meanwhile.
select set_config('lock_timeout', '10ms', true)

-- name: quarantine
insert into hark.backfill_item (recipient_id, backfill_id, batch, outcome, why, at)
select id, %(backfill)s, %(batch)s, 'quarantined', %(why)s, %(now)s from unnest(%(members)s::text[]) as given(id)
    on conflict (recipient_id, backfill_id) do update
       set outcome = excluded.outcome, why = excluded.why, at = excluded.at
 where backfill_item.outcome <> 'applied'
