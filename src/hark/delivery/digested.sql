-- name: digested
-- What feeds say in deliveries that are held, and whether their recipients want it by e-mail as they stand now.
select g.recipient_id, g.delivery_id, g.reason, g.items::text as items, g.total,
       case when r.id is null then 'unknown_recipient'
            when now_is.why is null then 'unknown_type'
            when now_is.why not in ('own_channels', 'default_channels') then now_is.why::text
            when r.reach <> 'ok' then r.reach::text
            when not now_is.email then now_is.why::text
       end as not_said,
       coalesce(f.cap, jsonb_array_length(g.items)) as cap,
       array(select s.entity from hark.subscription s
              where s.recipient_id = g.recipient_id and s.muted
                and s.entity = any(array(select item ->> 3 from jsonb_array_elements(g.items) item))) as muted
  from unnest(%(recipients)s::text[], %(ids)s::bigint[]) as held(recipient_id, id)
  join hark.digest g on g.recipient_id = held.recipient_id and g.delivery_id = held.id
  left join hark.feed f on f.reason = g.reason
  left join hark.recipient r on r.id = g.recipient_id
  left join hark.preference p on p.recipient_id = g.recipient_id
  left join hark.decision now_is
    on now_is.reason = g.reason and now_is.user_type = r.user_type and now_is.reach = r.reach
   and now_is.channel_choice = hark.channel_choice(p.channels -> g.reason)
   and now_is.frequency_choice = hark.frequency_choice(p.frequencies -> g.reason)
 order by g.recipient_id, g.delivery_id, g.reason
