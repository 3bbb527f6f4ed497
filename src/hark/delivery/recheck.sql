-- name: recheck
-- What is still to be said, at the last moment: unread, not archived, and wanted by e-mail as the recipient stands now.
-- A delivery's notifications lie between its first and last event, so the primary key finds them. (What has a lease is
-- SENDING, by the table's check; said so, no plan reads through all that is being sent.) Of the reasons in `asked` as many
-- are loaded as are asked about, of the others as many as are listed.
select d.recipient_id, d.id, d.attempt, d.attempt - d.held_back as tries, d.at_least_once,
       coalesce(r.address, '') as address, coalesce(r.zone, 'UTC') as zone, coalesce(r.locale, 'en') as locale,
       said.total, coalesce(said.items::text, '[]') as items, coalesce(said.counts, '{}') as counts,
       coalesce(said.dropped, '{}') as dropped, said.left_out,
       d.frequency::text as frequency, null as listed, '' as unchecked,
       null as silent, false as uncounted
  from unnest(%(recipients)s::text[], %(ids)s::bigint[], %(attempts)s::int[]) as held(recipient_id, id, attempt)
  join hark.delivery d on d.recipient_id = held.recipient_id and d.id = held.id
   and d.attempt = held.attempt and d.lease_until is not null
  left join hark.recipient r on r.id = d.recipient_id
  left join hark.preference p on p.recipient_id = d.recipient_id
 cross join lateral (
    select count(*) filter (where not_said is null) as total,
           jsonb_agg(jsonb_build_array(reason, event_id, occurred_at, actor, about, payload) order by event_id)
               filter (where not_said is null and place <= case when reason = any(%(asked)s::text[]) then %(noted)s::int else %(shown)s::int end)
               as items,
           jsonb_object_agg(reason, of_reason) filter (where not_said is null) as counts,
           jsonb_object_agg(not_said, of_why) filter (where not_said is not null) as dropped,
           jsonb_object_agg(event_id, not_said) filter (where not_said is not null and place <= %(noted)s) as left_out
      from (
        select item.*,
               row_number() over (partition by not_said is null, reason = any(%(asked)s::text[])
                                  order by event_id desc) as place,
               count(*) over (partition by not_said is null, reason) as of_reason,
               count(*) over (partition by not_said) as of_why
          from (
            select n.event_id, coalesce(n.as_reason, e.reason) as reason, e.occurred_at, e.actor, e.about, e.payload,
                   case when n.read_at is not null then 'read'
                        when n.archived_at is not null then 'archived'
                        when r.id is null then 'unknown_recipient'
                        when not n.named and (
                                select coalesce(bool_or(s.muted), true)
                                  from hark.subscription s
                                 where s.recipient_id = n.recipient_id and s.entity = any(e.entities))
                             then 'unsubscribed'
                        when now_is.why is null then 'unknown_type'
                        when now_is.why not in ('own_channels', 'default_channels') then now_is.why::text
                        when r.reach <> 'ok' then r.reach::text
                        when not now_is.email then now_is.why::text
                   end as not_said
              from hark.notification n
              join hark.event e on e.id = n.event_id and e.id between d.first_event and d.last_event
              left join hark.decision now_is
                on now_is.reason = coalesce(n.as_reason, e.reason) and now_is.user_type = r.user_type and now_is.reach = r.reach
               and now_is.channel_choice = hark.channel_choice(p.channels -> coalesce(n.as_reason, e.reason))
               and now_is.frequency_choice = hark.frequency_choice(p.frequencies -> coalesce(n.as_reason, e.reason))
             where n.recipient_id = d.recipient_id
               and n.event_id between d.first_event and d.last_event
               and n.email_delivery = d.id
          ) item
      ) placed
 ) said
