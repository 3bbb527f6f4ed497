-- part: old
-- What was planned before, oldest first, behind the last that was looked at.
old as (
    select recipient_id, reason, period, planned_at
      from hark.digest
     where planned_at < %(before)s
       and (planned_at, recipient_id, reason, period) > (%(planned_at)s, %(recipient)s, %(reason)s, %(period)s)
     order by planned_at, recipient_id, reason, period
     limit %(limit)s
)

-- part: needless
-- Coverage goes on from the newest, and asks which keys were told within the overlap before it; and what is open is not
-- done with.
needless as (
    select g.recipient_id, g.reason, g.period
      from old
      join hark.digest g using (recipient_id, reason, period)
     cross join lateral (
        select n.period, n.since_at
          from hark.digest n
         where n.recipient_id = g.recipient_id and n.reason = g.reason
         order by n.period desc
         limit 1
     ) newest
      left join hark.feed f on f.reason = g.reason
      left join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id
     where g.period < newest.period
       and g.until_at < newest.since_at - coalesce(f.overlap, interval '0')
       and (d.state is null or d.state in ('SENT', 'CANCELED'))
)

-- part: gone
-- That they are gone is noted with them, so that the ones behind them need no beginning.
gone as (
    delete from hark.digest g
     using needless n
     where g.recipient_id = n.recipient_id and g.reason = n.reason and g.period = n.period
    returning 1
),
noted as (
    insert into hark.digest_kept select %(before)s where exists (select from gone) on conflict do nothing
)

-- name: look
select (select count(*) from old) as old, (select count(*) from needless) as needless,
       last.planned_at, last.recipient_id as recipient, last.reason, last.period
  from (select 1) one
  left join (select * from old order by planned_at desc, recipient_id desc, reason desc, period desc limit 1) last on true

-- name: prune
select (select count(*) from old) as old, (select count(*) from gone) as needless,
       last.planned_at, last.recipient_id as recipient, last.reason, last.period
  from (select 1) one
  left join (select * from old order by planned_at desc, recipient_id desc, reason desc, period desc limit 1) last on true
