-- name: known_reasons
select name, frequency::text as frequency, exists (select from hark.feed f where f.reason = name) as has_feed
  from hark.reason where not retired

-- name: choose
-- One recipient's choice for one reason. A null leaves that half as it is; the other reasons' choices are not touched.
-- When it was made is noted by reason: it tells what somebody chose from what was lost.
insert into hark.preference as p (recipient_id, channels, frequencies, updated_at, chose)
values (%(recipient)s,
        case when %(channels)s::jsonb is null then '{}' else jsonb_build_object(%(reason)s::text, %(channels)s::jsonb) end,
        case when %(frequency)s::text is null then '{}' else jsonb_build_object(%(reason)s::text, %(frequency)s::text) end,
        %(now)s, jsonb_build_object(%(reason)s::text, %(now)s::timestamptz))
    on conflict (recipient_id) do update
       set channels = p.channels || excluded.channels,
           frequencies = p.frequencies || excluded.frequencies,
           updated_at = excluded.updated_at, chose = p.chose || excluded.chose

-- name: unchoose
update hark.preference
   set channels = channels - %(reason)s::text, frequencies = frequencies - %(reason)s::text, updated_at = %(now)s,
       chose = chose || jsonb_build_object(%(reason)s::text, %(now)s::timestamptz)
 where recipient_id = %(recipient)s

-- name: note_return
-- Before a choice is stored: who stops being told of a feed, left now; who is told again came back now, and their digests
-- begin here (see digests/planning.sql), unless no morning has come since they left: then nothing was missed.
with asked as (
    select r.id, given.reason, own.since -> given.reason as noted, was.frequency,
           coalesce(was.email and was.frequency in ('daily', 'weekly'), false) as told,
           coalesce(becomes.email and becomes.frequency in ('daily', 'weekly'), false) as will_be
      from unnest(%(recipients)s::text[], %(reasons)s::text[], %(channels)s::jsonb[], %(frequencies)s::text[])
           as given(recipient_id, reason, channels, frequency)
      join hark.feed f on f.reason = given.reason
      join hark.recipient r on r.id = given.recipient_id
      left join hark.preference own on own.recipient_id = r.id
      left join hark.decision was
        on was.reason = given.reason and was.user_type = r.user_type and was.reach = r.reach
       and was.channel_choice = hark.channel_choice(own.channels -> given.reason)
       and was.frequency_choice = hark.frequency_choice(own.frequencies -> given.reason)
      left join hark.decision becomes
        on becomes.reason = given.reason and becomes.user_type = r.user_type and becomes.reach = 'ok'
       and becomes.channel_choice = hark.channel_choice(
               coalesce(given.channels, case when %(kept)s then own.channels -> given.reason end))
       and becomes.frequency_choice = hark.frequency_choice(
               coalesce(to_jsonb(given.frequency), case when %(kept)s then own.frequencies -> given.reason end))
),
noted as (
    select a.id,
           jsonb_object_agg(a.reason,
               case when a.told then coalesce(a.noted, '{}') || jsonb_build_object('left', %(now)s::timestamptz, 'frequency', a.frequency)
                    when next.morning > %(now)s then a.noted - array['left', 'frequency']
                    else jsonb_build_object('at', %(now)s::timestamptz, 'snapshot', pg_current_snapshot()::text) end) as since
      from asked a
      join hark.reason terms on terms.name = a.reason
      join hark.recipient r on r.id = a.id
     cross join lateral (
            select hark.next_local((a.noted ->> 'left')::timestamptz + interval '1 microsecond', r.zone, coalesce(r.digest_at, terms.due_time),
                                   case a.noted ->> 'frequency' when 'weekly' then coalesce(r.digest_weekday, terms.due_weekday) end)
                   as morning
             where a.noted ? 'left'
            union all
            select null where not coalesce(a.noted ? 'left', false)
           ) next
     where a.told <> a.will_be
     group by a.id
)
insert into hark.preference as p (recipient_id, since, updated_at)
select id, since, %(now)s from noted order by id
    on conflict (recipient_id) do update
       set since = (p.since || excluded.since) - array(select key from jsonb_each(excluded.since) where value = '{}')
