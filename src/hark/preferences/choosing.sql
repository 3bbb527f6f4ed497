-- name: known_reasons
select name, frequency::text as frequency from hark.reason where not retired order by name

-- name: choose
-- One recipient's choice for one reason. A null leaves that half as it is; the other reasons' choices are not touched.
insert into hark.preference as p (recipient_id, channels, frequencies, updated_at)
values (%(recipient)s,
        case when %(channels)s::jsonb is null then '{}' else jsonb_build_object(%(reason)s::text, %(channels)s::jsonb) end,
        case when %(frequency)s::text is null then '{}' else jsonb_build_object(%(reason)s::text, %(frequency)s::text) end,
        %(now)s)
    on conflict (recipient_id) do update
       set channels = p.channels || excluded.channels,
           frequencies = p.frequencies || excluded.frequencies,
           updated_at = excluded.updated_at

-- name: unchoose
update hark.preference
   set channels = channels - %(reason)s::text, frequencies = frequencies - %(reason)s::text, updated_at = %(now)s
 where recipient_id = %(recipient)s

-- name: note_return
-- Whoever is not told of a feed now and chooses to be: their digests begin here (see digests/planning.sql).
insert into hark.preference as p (recipient_id, since, updated_at)
select r.id, jsonb_object_agg(given.reason, jsonb_build_object('at', %(now)s::timestamptz, 'snapshot', pg_current_snapshot()::text)), %(now)s
  from unnest(%(recipients)s::text[], %(reasons)s::text[]) as given(recipient_id, reason)
  join hark.feed f on f.reason = given.reason
  join hark.recipient r on r.id = given.recipient_id
  left join hark.preference own on own.recipient_id = r.id
  left join hark.decision d
    on d.reason = given.reason and d.user_type = r.user_type and d.reach = r.reach
   and d.channel_choice = hark.channel_choice(own.channels -> given.reason)
   and d.frequency_choice = hark.frequency_choice(own.frequencies -> given.reason)
 where (d.email and d.frequency in ('daily', 'weekly')) is not true
 group by r.id
 order by r.id
    on conflict (recipient_id) do update set since = p.since || excluded.since
