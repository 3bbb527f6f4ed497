-- name: faults
-- Each recipient's sent digests of a reason, in order: each begins where the one before ended, or at a stated base; none
-- has a key that another had; of each something was said. (One of which nothing was said counts as canceled, whatever else
-- its message says; that it is so is looked up in what the message left out.) Beside them the open ones, which must not
-- stay open. Read in the order of the key.
with sent as (
    select g.*, d.left_out, lag(g.until) over digests as before_until
      from hark.digest g
      join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id
     where d.state = 'SENT' and not coalesce(d.silent ? g.reason, false)
    window digests as (partition by g.recipient_id, g.reason order by g.period)
)
select recipient_id, reason, period, 'no_beginning' as fault, '' as about
  from sent
 where base is null and before_until is null
   and since_at >= coalesce((select max(since) from hark.digest_kept), '-infinity')
union all
select recipient_id, reason, period,
       case when pg_snapshot_xmax(since) > pg_snapshot_xmax(before_until) then 'gap' else 'overlap' end, ''
  from sent where base is null and before_until is not null and since::text <> before_until::text
union all
select recipient_id, reason, period, 'overlap', ''
  from sent where base in ('first', 'returned') and pg_snapshot_xmax(since) < pg_snapshot_xmax(before_until)
union all
select recipient_id, reason, max(period), 'told_twice', key
  from sent cross join lateral (select distinct unnest(keys) as key) told
 group by recipient_id, reason, key having count(*) > 1
union all
select recipient_id, reason, period, 'unsaid', (total - jsonb_array_length(items))::text
  from sent
 where total > jsonb_array_length(items) and left_out is not null
   and not exists (select from jsonb_array_elements(items) item where not left_out ? (reason || '/' || (item ->> 0)))
union all
select g.recipient_id, g.reason, g.period, 'no_delivery', g.delivery_id::text
  from hark.digest g
 where not exists (select from hark.delivery d where d.recipient_id = g.recipient_id and d.id = g.delivery_id)
union all
select g.recipient_id, g.reason, g.period, 'still_open', g.delivery_id::text
  from hark.digest g
  join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id
 where d.state in ('PENDING', 'SENDING') and g.planned_at < %(open_since)s and d.due_at < %(open_since)s

-- name: compared
select count(*) as digests,
       count(*) filter (where d.state = 'SENT' and not unsaid) as sent,
       count(*) filter (where d.state = 'CANCELED' or d.state = 'SENT' and unsaid) as canceled,
       coalesce(sum(cardinality(g.keys)) filter (where d.state = 'SENT' and not unsaid), 0)::bigint as keys
  from hark.digest g
  left join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id
 cross join lateral (select coalesce(d.silent ? g.reason, false)) said(unsaid)

-- name: standing
select m.at, pg_snapshot_xmax(m.snapshot)::text as known_to, pg_snapshot_xmax(pg_current_snapshot())::text as now_at,
       pg_snapshot_xmax(m.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) as gone_back,
       (select count(*) from hark.digest) as digests
  from hark.moment m
 order by m.at desc
 limit 1

-- name: rebase
-- From here on: moments of other transactions are forgotten, and whatever was committed up to now is covered.
with forgotten as (
    delete from hark.moment where at <> %(now)s
)
insert into hark.moment values (%(now)s, pg_current_snapshot(), true)
    on conflict (at) do update set snapshot = excluded.snapshot, base = true
