-- name: counts
select count(*) filter (where state = 'SENT' and outcome = 'accepted') as messages,
       count(*) filter (where state <> 'SENT' or outcome <> 'accepted') as unsent,
       coalesce(sum(items), 0)::bigint as notifications,
       coalesce(max(items), 0) as biggest_batch,
       count(distinct recipient_id) as recipients
  from hark.delivery

-- name: per_day
-- Over the days, in the recipients' zone, on which a recipient got at least one message.
select count(*) as user_days,
       percentile_disc(%(fractions)s::float8[]) within group (order by messages) as quantiles
  from (select count(*) as messages
          from hark.delivery
         group by recipient_id, (due_at at time zone %(zone)s)::date) user_day

-- name: waits
select percentile_disc(%(fractions)s::float8[]) within group (order by d.due_at - e.published_at) as quantiles
  from hark.delivery d
  join hark.notification n on n.recipient_id = d.recipient_id and n.email_delivery = d.id
  join hark.event e on e.id = n.event_id
