-- name: mark_within
-- As settle.mark, but of what counts only so many as each recipient's cap lets go: the rest goes back to PENDING, until
-- the cap lets it. The upsert locks a recipient's row and sees what others wrote meanwhile, so that neither two of one
-- chunk nor two workers slip through together; its granting is in the row, for a statement cannot return what was.
with held as materialized (
    select d.recipient_id, d.id, d.channel, d.due_at, given.attempt, given.why, given.left_out, given.silent,
           given.counts
      from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[], %(whys)s::text[],
                  %(left_out)s::jsonb[], %(silent)s::jsonb[], %(counts)s::boolean[])
           as given(recipient_id, id, attempt, why, left_out, silent, counts)
      join hark.delivery d on d.recipient_id = given.recipient_id and d.id = given.id
       and d.lease_until is not null and d.attempt = given.attempt
     order by d.recipient_id, d.id
       for update of d
),
counted as (
    insert into hark.recipient_rate as r (recipient_id, channel, recent, granted)
    select recipient_id, channel, array_fill(%(now)s::timestamptz, array[granted]), granted
      from (select recipient_id, channel, least(count(*), %(cap)s::int)::int as granted
              from held where counts group by recipient_id, channel) wanting
     order by recipient_id, channel
        on conflict (recipient_id, channel) do update
           set (recent, granted) = (
               select kept || array_fill(excluded.recent[1], array[granted]), granted
                 from (select kept, greatest(least(excluded.granted, %(cap)s::int - cardinality(kept)), 0) as granted
                         from (select array(select at from unnest(r.recent) as at
                                             where at > excluded.recent[1] - %(per_us)s::bigint * interval '1 microsecond'
                                             order by at) as kept) _) _)
    returning r.recipient_id, r.channel, r.recent, r.granted
),
placed as (
    select recipient_id, id, (row_number() over (partition by recipient_id, channel order by due_at, id))::int as place
      from held where counts
),
judged as materialized (
    -- The first over the cap may go when the oldest that counts no longer does, the second with the second, and so on.
    select h.recipient_id, h.id, h.attempt, h.why, h.left_out, h.silent,
           case when p.place > c.granted
                then c.recent[cardinality(c.recent) - %(cap)s::int + 1 + (p.place - c.granted - 1) %% %(cap)s::int]
                     + (1 + (p.place - c.granted - 1) / %(cap)s::int) * %(per_us)s::bigint * interval '1 microsecond'
                end as may_at
      from held h
      left join placed p on p.recipient_id = h.recipient_id and p.id = h.id
      left join counted c on c.recipient_id = h.recipient_id and c.channel = h.channel and h.counts
)
update hark.delivery d
   set state = case when may_at is null then 'SENT' else 'PENDING' end::hark.delivery_state,
       outcome = case when may_at is null then 'unknown' else 'none' end::hark.outcome,
       lease_until = null, due_at = coalesce(may_at, d.due_at), held_back = d.held_back + (may_at is not null)::int,
       why = case when may_at is null then judged.why else %(over)s end, left_out = judged.left_out,
       silent = judged.silent, changed_at = %(now)s
  from judged
 where d.recipient_id = judged.recipient_id and d.id = judged.id
   and d.lease_until is not null and d.attempt = judged.attempt
returning d.id, d.state = 'SENT' as marked

-- name: uncount
-- What was certainly not taken does not count: out with as many of its moments as there were such messages.
with theirs as materialized (
    select r.recipient_id, r.recent, untaken.n
      from (select recipient_id, count(*) as n from unnest(%(recipients)s::text[]) as _(recipient_id) group by 1) untaken
      join hark.recipient_rate r on r.recipient_id = untaken.recipient_id and r.channel = %(channel)s
     order by r.recipient_id
       for update of r
)
update hark.recipient_rate r
   set recent = array(select at from (select at, row_number() over (partition by at) as copy
                                        from unnest(theirs.recent) as at) _
                       where at <> %(at)s or copy > theirs.n
                       order by at)
  from theirs
 where r.recipient_id = theirs.recipient_id and r.channel = %(channel)s
