-- name: listed
-- From the newest back, by its index or by the recipient's key; a delivery for each, since the planner, who thinks that
-- few have one, would read both tables whole. Of what a delivery left out, the digest's own: `reason/key`.
select g.recipient_id, g.reason, g.period, g.delivery_id, d.state::text as state, d.outcome::text as outcome, g.total,
       least(jsonb_array_length(g.items), (select f.cap from hark.feed f where f.reason = g.reason)) as listed, g.base::text as base, g.missed, g.since_at, g.until_at, g.planned_at,
       d.due_at, d.why,
       (select jsonb_object_agg(substr(noted.name, length(g.reason) + 2), noted.why)
          from jsonb_each_text(d.left_out) as noted(name, why)
         where starts_with(noted.name, g.reason || '/')) as left_out
  from hark.digest g
  cross join lateral (
        select * from hark.delivery d where d.recipient_id = g.recipient_id and d.id = g.delivery_id offset 0
       ) d
 where g.planned_at <= %(before)s
   and (%(recipient)s::text is null or g.recipient_id = %(recipient)s)
   and (%(reason)s::text is null or g.reason = %(reason)s)
   and (%(states)s::hark.delivery_state[] is null or d.state = any(%(states)s))
 order by g.planned_at desc, g.recipient_id, g.reason
 limit %(limit)s

-- name: feeds
select f.reason from hark.feed f join hark.reason r on r.name = f.reason where not r.retired order by r.position

-- part: walked_one
walked as materialized (
    select id as recipient_id, user_type, reach from hark.recipient where id = %(recipient)s
)

-- part: willing_any
willing as (
    select w.recipient_id,
           case when hark.frequency_choice(p.frequencies -> %(reason)s) = 'default'
                 and f.returned_at > coalesce((p.since -> %(reason)s ->> 'at')::timestamptz, '-infinity')
                then jsonb_build_object('at', f.returned_at, 'snapshot', f.returned_snapshot::text)
                else p.since -> %(reason)s end as back
      from walked w
      left join hark.preference p on p.recipient_id = w.recipient_id
      left join hark.feed f on f.reason = %(reason)s
)

-- name: next
select r.id as recipient_id, %(reason)s as reason, coalesce(d.email, false) as email, d.frequency::text as frequency,
       coalesce(d.why::text, 'unknown_type') as why, r.reach::text as reach, slot.next_due,
       w.since_at, w.base::text as base,
       (select g.delivery_id
          from hark.digest g
          join hark.delivery o on o.recipient_id = g.recipient_id and o.id = g.delivery_id
         where g.recipient_id = r.id and g.reason = %(reason)s and o.state in ('PENDING', 'SENDING')
         order by g.period desc limit 1) as open_delivery
  from hark.recipient r
  left join hark.preference p on p.recipient_id = r.id
  left join hark.decision d
    on d.reason = %(reason)s and d.user_type = r.user_type and d.reach = r.reach
   and d.channel_choice = hark.channel_choice(p.channels -> %(reason)s)
   and d.frequency_choice = hark.frequency_choice(p.frequencies -> %(reason)s)
  left join lateral (
        select nullif(s.next_due, '-infinity') as next_due
          from hark.slot s
         where s.frequency = d.frequency and s.zone = r.zone and s.digest_at is not distinct from r.digest_at
           and s.digest_weekday is not distinct from r.digest_weekday
       ) slot on true
  left join watermarks w on w.recipient_id = r.id
 where r.id = %(recipient)s

-- name: failing
select w.reason, count(*) as walks, max(w.failures) as failures, min(w.retry_at) as retry_at, max(w.fault) as fault,
       sum(w.passed_over) as passed_over
  from hark.walk w
 where w.done_at is null and w.failures > 0 or w.passed_over > 0
 group by w.reason
 order by w.reason
