-- name: recipient
select id, user_type, address, confirmed, opted_in, active, zone, locale, attributes,
       to_char(digest_at, 'HH24:MI') as digest_at,
       (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])[digest_weekday + 1] as digest_weekday,
       suppressed, reach::text as reach, updated_at
  from hark.recipient
 where id = %(recipient)s

-- name: choices
-- Of every reason: what the recipient chose, and what is decided for them. Nothing is decided for whom nobody knows.
select reason.name as reason, reason.title,
       case when p.channels ? reason.name then hark.channel_choice(p.channels -> reason.name) end as chosen_channels,
       case when p.frequencies ? reason.name then hark.frequency_choice(p.frequencies -> reason.name) end as chosen_frequency,
       coalesce(d.email, false) as email, coalesce(d.in_app, false) as in_app,
       coalesce(d.frequency, reason.frequency)::text as frequency,
       coalesce(d.why, case when r.id is null then 'unknown_recipient' else 'unknown_type' end::hark.why)::text as why
  from hark.reason
  left join hark.recipient r on r.id = %(recipient)s
  left join hark.preference p on p.recipient_id = %(recipient)s
  left join hark.decision d
    on d.reason = reason.name and d.user_type = r.user_type and d.reach = r.reach
   and d.channel_choice = hark.channel_choice(p.channels -> reason.name)
   and d.frequency_choice = hark.frequency_choice(p.frequencies -> reason.name)
 where not reason.retired and (%(reason)s::text is null or reason.name = %(reason)s)
 order by reason.position, reason.name
