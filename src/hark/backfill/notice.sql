-- name: publish_end
select hark.publish(b.notify ->> 'reason',
                    recipients => array(select jsonb_array_elements_text(b.notify -> 'to')),
                    about => 'backfill:' || b.id,
                    payload => jsonb_build_object('backfill', b.id, 'kind', b.kind, 'state', b.state, 'why', b.why,
                                                  'members', b.members, 'to_change', b.to_change),
                    key => 'backfill:' || b.id || ':' || b.state || ':' || extract(epoch from b.changed_at),
                    published_at => %(now)s) as id
  from hark.backfill b
 where b.id = %(backfill)s and b.notify is not null

-- name: publish_stall
-- A standstill begins when something was done last, or what was asked for ended: until it was resumed, its rate let it go
-- on, its window opened, all were let go on.
select hark.publish(b.notify ->> 'reason',
                    recipients => array(select jsonb_array_elements_text(b.notify -> 'to')),
                    about => 'backfill:' || b.id,
                    payload => jsonb_build_object('backfill', b.id, 'kind', b.kind, 'state', b.state,
                                                  'why', 'stalled: ' || %(obstacle)s::text),
                    key => 'backfill:' || b.id || ':stalled:' || extract(epoch from last.at),
                    published_at => %(now)s) as id
  from hark.backfill b
 cross join lateral (
    select greatest(b.changed_at, b.next_at, %(opened)s, (select at from hark.backfill_switch), max(d.changed_at)) as at
      from hark.backfill_batch d
     where d.backfill_id = b.id and (d.state = 'DONE' or b.state = 'PLANNING')
 ) last
 where b.id = %(backfill)s and b.state in ('PLANNING', 'APPLYING') and b.notify is not null and b.changed_at <= %(before)s and last.at <= %(before)s
   and not exists (select from hark.event e where e.key = 'backfill:' || b.id || ':stalled:' || extract(epoch from last.at))

-- name: mark_stall
-- Of all workers one tells the webhook of a standstill: the row says of which one it was told.
with standstill as (
    select b.id, greatest(b.changed_at, b.next_at, %(opened)s, (select at from hark.backfill_switch),
                          max(d.changed_at) filter (where d.state = 'DONE' or b.state = 'PLANNING')) as at,
           coalesce(sum(d.applied), 0) as applied, coalesce(sum(d.drifted), 0) as drifted, coalesce(sum(d.quarantined), 0) as quarantined
      from hark.backfill b
      left join hark.backfill_batch d on d.backfill_id = b.id
     where b.id = %(backfill)s and b.state in ('PLANNING', 'APPLYING') and b.changed_at <= %(before)s
       and (b.stalled_at is null or b.stalled_at <= %(before)s)
     group by b.id
),
marked as (
    update hark.backfill b
       set stalled_at = s.at
      from standstill s
     where b.id = s.id and s.at <= %(before)s and (b.stalled_at is null or b.stalled_at < s.at)
    returning b.*, s.at, s.applied, s.drifted, s.quarantined
)
select 'backfill-' || id || '-stalled-' || extract(epoch from at) as id, 'stalled' as what, at, id as backfill, kind, undoes,
       state::text as state, %(obstacle)s::text as why, members, to_change, applied::bigint as applied,
       drifted::bigint as drifted, quarantined::bigint as quarantined
  from marked

-- name: end
select 'backfill-' || b.id || '-' || b.state || '-' || extract(epoch from b.changed_at) as id, 'ended' as what, b.changed_at as at,
       b.id as backfill, b.kind, b.undoes, b.state::text as state, b.why, b.members, b.to_change,
       coalesce(sum(d.applied), 0)::bigint as applied, coalesce(sum(d.drifted), 0)::bigint as drifted,
       coalesce(sum(d.quarantined), 0)::bigint as quarantined
  from hark.backfill b
  left join hark.backfill_batch d on d.backfill_id = b.id
 where b.id = %(backfill)s
 group by b.id
