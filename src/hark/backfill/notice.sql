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
select hark.publish(b.notify ->> 'reason',
                    recipients => array(select jsonb_array_elements_text(b.notify -> 'to')),
                    about => 'backfill:' || b.id,
                    payload => jsonb_build_object('backfill', b.id, 'kind', b.kind, 'state', b.state,
                                                  'why', 'stalled: ' || %(obstacle)s::text),
                    key => 'backfill:' || b.id || ':stalled:' || extract(epoch from last.at),
                    published_at => %(now)s) as id
  from hark.backfill b
 cross join lateral (
    select greatest(b.changed_at, max(d.changed_at)) as at from hark.backfill_batch d where d.backfill_id = b.id and d.state = 'DONE'
 ) last
 where b.id = %(backfill)s and b.state = 'APPLYING' and b.notify is not null and b.changed_at <= %(before)s and last.at <= %(before)s
   and not exists (select from hark.event e where e.key = 'backfill:' || b.id || ':stalled:' || extract(epoch from last.at))
