-- name: one_at_a_time
-- The chunks of one reason are planned one after the other: each sees what the one before it has committed. Where another
-- planner is at it, for as long as its feed takes, nobody waits: there are other reasons. Each has so long, and may sort
-- in memory.
select pg_try_advisory_xact_lock(hashtext('hark.digests'), hashtext(%(reason)s)) as ours,
       set_config('statement_timeout', %(milliseconds)s::text, true) as patience, set_config('work_mem', %(memory)s, true) as memory

-- name: in_turn
-- The same for what a feed has answered already: only writing it down is left, which takes no longer than a statement.
select true as ours, patience, memory
  from (select pg_advisory_xact_lock(hashtext('hark.digests'), hashtext(%(reason)s)),
               set_config('statement_timeout', %(milliseconds)s::text, true) as patience, set_config('work_mem', %(memory)s, true) as memory) waited

-- name: expected
-- How many recipients the next chunk has, so that its statement is planned for as many: read from the index alone. That of
-- a few is planned once for all chunks of a few, as planning it takes longer than running it.
select recipients,
       set_config('plan_cache_mode', case when recipients <= %(few)s::int then 'force_generic_plan' else 'auto' end, true) as plan_cache_mode
  from (select count(*) as recipients
          from (select from hark.recipient r
                 where r.zone = %(zone)s
                   and coalesce(r.digest_at, time '24:00') = coalesce(%(digest_at)s::time, time '24:00')
                   and coalesce(r.digest_weekday, -1::smallint) = coalesce(%(digest_weekday)s::smallint, -1::smallint)
                   and r.id > %(reached)s
                 order by r.id
                 limit %(chunk)s) next) ahead

-- name: span
-- How many recipients a chunk is of, and who is the last.
select count(*) as recipients, coalesce(max(id), '') as upto
  from (select r.id from hark.recipient r
         where r.zone = %(zone)s
           and coalesce(r.digest_at, time '24:00') = coalesce(%(digest_at)s::time, time '24:00')
           and coalesce(r.digest_weekday, -1::smallint) = coalesce(%(digest_weekday)s::smallint, -1::smallint)
           and r.id > %(reached)s
         order by r.id
         limit %(chunk)s) next

-- part: guard
-- The walk as it was taken: a planner that comes too late finds nothing, and writes nothing.
guard as materialized (
    select w.slot_id
      from hark.walk w
     where w.slot_id = %(slot)s and w.reason = %(reason)s and w.due_at = %(due_at)s and w.reached = %(reached)s
       and w.done_at is null
       for update
)

-- part: unguarded
-- To look ahead only: nothing is written.
guard as materialized (select)

-- part: walked
-- The slot's next recipients, by its index.
walked as materialized (
    select r.id as recipient_id, r.user_type, r.reach
      from hark.recipient r
     where exists (select from guard)
       and r.zone = %(zone)s
       and coalesce(r.digest_at, time '24:00') = coalesce(%(digest_at)s::time, time '24:00')
       and coalesce(r.digest_weekday, -1::smallint) = coalesce(%(digest_weekday)s::smallint, -1::smallint)
       and r.id > %(reached)s
     order by r.id
     limit %(chunk)s
)

-- part: willing
-- decide() by its truth table: those who want this reason by e-mail, this often. Whose frequency is the reason's own came
-- back with it, when the catalogue no longer said never.
classed as materialized (
    select w.recipient_id, w.user_type, w.reach, p.since -> %(reason)s as back,
           hark.channel_choice(p.channels -> %(reason)s) as channel_choice,
           hark.frequency_choice(p.frequencies -> %(reason)s) as frequency_choice
      from walked w
      left join lateral (
            select channels, frequencies, since from hark.preference p where p.recipient_id = w.recipient_id limit 1
           ) p on true
),
willing as (
    select c.recipient_id,
           case when c.frequency_choice = 'default' and f.returned_at > coalesce((c.back ->> 'at')::timestamptz, '-infinity')
                then jsonb_build_object('at', f.returned_at, 'snapshot', f.returned_snapshot::text) else c.back end as back
      from classed c
      join hark.decision d
        on d.reason = %(reason)s and d.user_type = c.user_type and d.reach = c.reach
       and d.channel_choice = c.channel_choice and d.frequency_choice = c.frequency_choice
      left join hark.feed f on f.reason = d.reason
     where d.email and d.frequency = %(frequency)s::hark.frequency
)

-- part: grounds
-- Where coverage may begin: not behind the newest base; a first digest, a week ago.
grounds as materialized (
    select base.at as base_at, base.snapshot as base_since,
           greatest(coalesce(ago.at, base.at), %(ago)s) as first_at, coalesce(ago.snapshot, base.snapshot) as first_since
      from (select at, snapshot from hark.moment where base order by at desc limit 1) base
      left join lateral (
            select at, snapshot from hark.moment m where m.at <= %(ago)s and m.at >= base.at order by m.at desc limit 1
           ) ago on true
)

-- part: standing
-- Each one's newest digest of this reason. One that is still open keeps the next from being planned on top of it,
-- and who had a weekly one gets no other in the same week, whatever weekday they choose. One of an earlier morning that left
-- only after this one had come stands for both: what is new since waits for the next.
standing as (
    select w.recipient_id, (w.back ->> 'at')::timestamptz as back_at, (w.back ->> 'snapshot')::pg_snapshot as back_since,
           newest.until_at, newest.base,
           case when newest.covers then newest.until else newest.since end as since,
           case when newest.covers then newest.until_at else newest.since_at end as since_at, newest.covers,
           case when newest.covers then 0
                else coalesce(newest.tried, 0) + (newest.silent is not distinct from 'items')::int end as tried
      from willing w
      left join lateral (
            select g.period, g.since, g.since_at, g.until, g.until_at, g.base, g.tried, d.state, d.outcome, d.changed_at,
                   d.frequency, d.silent ->> g.reason as silent,
                   d.state = 'SENT' and not coalesce(d.silent ? g.reason, false) as covers
              from hark.digest g
              join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id
             where g.recipient_id = w.recipient_id and g.reason = %(reason)s
             order by g.period desc
             limit 1
           ) newest on true
     where newest.period is null
        or newest.period < %(period)s
           and newest.state not in ('PENDING', 'SENDING')
           and not (newest.outcome = 'unknown' and newest.changed_at > %(answered_by)s)
           and not (newest.covers and newest.changed_at >= %(due_at)s and %(frequency)s::hark.frequency = 'daily')
           and not (newest.frequency = 'weekly' and %(frequency)s::hark.frequency = 'weekly' and newest.covers
                    and date_trunc('week', newest.period::timestamp) >= date_trunc('week', %(period)s::date::timestamp))
)

-- part: nobody
-- Nobody; but the database, which cannot see how many are willing, takes them for as many, and plans the feed for that.
nobody as not materialized (select from generate_series(1, %(expected)s) where (select false))

-- part: nobody_of_few
-- The same for a chunk of a few: said in the statement, and not given to it, it holds for the plan that is kept.
nobody as not materialized (select from generate_series(1, 500) where (select false))

-- part: watermarks
-- From where on things are new to each: where their last sent digest ended; one that was canceled, or of which nothing
-- was said, covered nothing, so where it began. Without one, or since they came back, a stated base.
watermarks as materialized (
    select recipient_id, back_at,
           case begins when 'returned' then back_since when 'first' then first_since when 'rebased' then base_since
                       else since end as since,
           case begins when 'returned' then back_at when 'first' then first_at when 'rebased' then base_at
                       else since_at end as since_at,
           case when begins is not null then begins when not covers then base end as base, tried
      from (
        select s.*, g.*,
               case when s.back_at >= g.base_at and (s.until_at is null or s.back_at > s.until_at) then 'returned'
                    when s.until_at is null then 'first'
                    when s.until_at < g.base_at then 'rebased'
               end::hark.digest_base as begins
          from standing s cross join grounds g
      ) each
    union all
    select null, null, null, null, null, null from nobody
)

-- part: due
-- What a feed is given: nothing but this. No overlap goes back behind where someone came back. (Text by the database's
-- collation, as a product's tables have it: their indexes are of no use to a comparison by another one, and be read
-- whole for every chunk.)
due as (
    select recipient_id collate "default" as recipient_id, since,
           greatest(since_at - %(overlap)s::interval, case when back_at <= since_at then back_at end) as since_at
      from watermarks
)

-- part: answered_before
-- The answers of a feed that was asked, with no transaction open.
answered as (
    select * from unnest(%(recipients)s::text[], %(keys)s::text[], %(ranks)s::float8[], %(ats)s::timestamptz[],
                         %(actors)s::text[], %(abouts)s::text[], %(payloads)s::jsonb[])
                  as given(recipient_id, key, rank, at, actor, about, payload)
)

-- part: known
-- What digests of the overlap already told, or are about to.
known as (
    select w.recipient_id, told.key
      from watermarks w
      join hark.digest g
        on g.recipient_id = w.recipient_id and g.reason = %(reason)s
       and g.period >= (w.since_at - %(overlap)s::interval)::date - 9
       and g.until_at >= w.since_at - %(overlap)s::interval
      join hark.delivery d on d.recipient_id = g.recipient_id and d.id = g.delivery_id and d.state <> 'CANCELED'
       and not coalesce(d.silent ? g.reason, false)
     cross join lateral unnest(g.keys) as told(key)
)

-- part: known_nothing
-- Without an overlap, commit order alone tells new from old.
known as (
    select null::text collate "C" as recipient_id, null::text collate "C" as key where false
)

-- part: muted
-- What is about an entity that they muted is no news to them. (Looked up for each by its index; joined, all that anybody ever
-- muted might be read for every chunk.)
muted as (
    select w.recipient_id, s.entity
      from watermarks w
     cross join lateral (
            select entity from hark.subscription s where s.recipient_id = w.recipient_id and s.muted offset 0
           ) s
)

-- part: offered
-- Each key once, none that is known, muted or of the recipient's own doing, the best first; all are counted. The first are
-- kept to be listed, and others in reserve for those that the recheck may leave out; more of them for whom all that were
-- kept the last time were left out, so that what stands behind those has its turn, too.
-- (Text of a product's may have any collation, and two that differ cannot be compared: all of it is compared byte by byte.)
-- (Sorted together or looked up by hash, not joined: no plan compares each with each.)
offered as (
    select recipient_id, count(*) as total,
           jsonb_agg(case when key <> '' and at between '1900-01-01' and '9999-01-01' and jsonb_typeof(payload) = 'object'
                          then jsonb_build_array(key, at, actor, about, payload) else hark.refuse_item() end
                     order by rank desc nulls last, at desc, key)
               filter (where kept) as items,
           array_agg(key order by rank desc nulls last, at desc, key) filter (where kept or place <= %(keys_kept)s) as keys
      from (
        select ranked.*,
               place <= %(reserve)s
               or place <= %(tried_once)s and recipient_id in (select w.recipient_id from watermarks w where w.tried > 0)
               or place <= %(tried_twice)s and recipient_id in (select w.recipient_id from watermarks w where w.tried > 1)
               as kept
      from (
        select recipient_id, key, rank, at, actor, about, payload,
               row_number() over (partition by recipient_id order by rank desc nulls last, at desc, key) as place
          from (
            select distinct on (recipient_id, key) *
              from (
                select recipient_id::text collate "C" as recipient_id, key::text collate "C" as key, rank::float8 as rank,
                       coalesce(at::timestamptz, %(now)s) as at, actor::text collate "C" as actor,
                       about::text collate "C" as about,
                       coalesce(payload::jsonb, '{}') as payload, false as known
                  from answered
                union all
                select recipient_id, key, null, null, null, null, null, true from known
              ) either
             order by recipient_id, key, known desc, rank desc nulls last, at desc
          ) once
         where not known and actor is distinct from recipient_id
           and (recipient_id, coalesce(about, '')) not in (select m.recipient_id, m.entity from muted m)
      ) ranked) placed
     group by recipient_id
)

-- part: paired
-- (A full join, planned by hash or merge only; see `told` in batching.sql.)
paired as materialized (
    select w.recipient_id, w.since, w.since_at, w.base, w.tried, o.total, o.items, o.keys, true as as_asked
      from watermarks w
      full join offered o on o.recipient_id = w.recipient_id
)

-- part: paired_as_asked
-- Whose digest was sent or canceled while the feed was asked is asked again another time.
paired as materialized (
    select w.recipient_id, w.since, w.since_at, w.base, w.tried, o.total, o.items, o.keys, asked.since = w.since::text as as_asked
      from watermarks w
      full join offered o on o.recipient_id = w.recipient_id
      full join unnest(%(asked)s::text[], %(asked_since)s::text[]) as asked(recipient_id, since)
        on asked.recipient_id = w.recipient_id
)

-- part: news
-- Only something new makes a digest; who was not due gets none, whatever the feed says.
news as materialized (
    select * from paired where recipient_id is not null and items is not null and as_asked
)

-- part: wanted
-- Events and feeds of one morning share the message that gathers for it.
wanted as (
    select recipient_id, 'email'::hark.channel as channel, '@' || %(frequency)s as batch_group,
           %(frequency)s::hark.frequency as frequency, true as gathering,
           %(due_at)s::timestamptz as quiet_at, %(due_at)s::timestamptz as stale_at,
           total as items, null::bigint as first_event, null::bigint as last_event,
           %(at_least_once)s::boolean as at_least_once
      from news
)

-- part: written
written as (
    insert into hark.digest (recipient_id, reason, period, delivery_id, since, since_at, until, until_at, base, missed,
                             items, keys, total, planned_at, tried)
    select n.recipient_id, %(reason)s, %(period)s, g.id, n.since, n.since_at,
           coalesce(%(until)s::pg_snapshot, pg_current_snapshot()), %(until_at)s, n.base, %(missed)s,
           n.items, n.keys, n.total, %(now)s, n.tried
      from news n
      full join gathered g on g.recipient_id = n.recipient_id
     order by n.recipient_id
        on conflict (recipient_id, reason, period) do nothing
    returning 1
)

-- part: moved
-- After failures the chunks grow again as they shrank, step by step: what took too long may still lie ahead.
moved as (
    update hark.walk w
       set reached = coalesce((select max(recipient_id) from walked), w.reached),
           asked = w.asked + (select count(*) from watermarks),
           planned = w.planned + (select count(*) from written),
           retry_at = %(now)s, fault = case when w.passed_over > 0 then w.fault end,
           failures = case when (select count(*) from walked) < %(chunk)s then 0 else %(failures_left)s end,
           done_at = case when (select count(*) from walked) < %(chunk)s then %(now)s::timestamptz end
      from guard
     where w.slot_id = guard.slot_id and w.reason = %(reason)s
    returning w.reached, w.done_at is not null as done
)

-- name: plan
select (select count(*) from walked) as walked,
       (select count(*) from watermarks) as asked,
       (select count(*) from written) as planned,
       coalesce((select done from moved), false) as done,
       coalesce((select reached from moved), %(reached)s) as reached

-- name: ask
select recipient_id, since::text as since, since_at, pg_current_snapshot()::text as until from due

-- name: due_ahead
-- Who are due, and behind how many recipients each of them stands.
select recipient_id, ahead
  from (select recipient_id, row_number() over (order by recipient_id) - 1 as ahead from walked) placed
 where recipient_id in (select recipient_id collate "C" from due)
 order by ahead

-- name: passed_over
-- The next ones ahead get no digest of this morning, and the walk goes on behind them.
update hark.walk w
   set reached = ahead.last, passed_over = w.passed_over + ahead.recipients, retry_at = %(now)s,
       failures = %(failures_left)s,
       fault = w.passed_over + ahead.recipients || ' passed over, the last ' || ahead.last || ': ' || %(fault)s
  from (select max(id) as last, count(*)::int as recipients
          from (select r.id from hark.recipient r
                 where r.zone = %(zone)s
                   and coalesce(r.digest_at, time '24:00') = coalesce(%(digest_at)s::time, time '24:00')
                   and coalesce(r.digest_weekday, -1::smallint) = coalesce(%(digest_weekday)s::smallint, -1::smallint)
                   and r.id > %(reached)s
                 order by r.id
                 limit %(passing)s) next) ahead
 where w.slot_id = %(slot)s and w.reason = %(reason)s and w.due_at = %(due_at)s and w.reached = %(reached)s
   and w.done_at is null and ahead.recipients > 0
returning w.reached
