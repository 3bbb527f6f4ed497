-- name: listed
select n.event_id, coalesce(n.as_reason, e.reason) as reason, coalesce(reason.title, n.as_reason, e.reason) as title, e.actor, e.about, e.payload, e.occurred_at,
       n.seen_at, n.read_at, n.archived_at
  from hark.notification n
  join hark.event e on e.id = n.event_id
  left join hark.reason on reason.name = coalesce(n.as_reason, e.reason)
 where n.recipient_id = %(recipient)s
   and n.in_app
   and n.event_id < %(before)s
   and (%(archived)s or n.archived_at is null)
   and (not %(unread)s or n.read_at is null)
   and (%(reason)s::text is null or coalesce(n.as_reason, e.reason) = %(reason)s)
 order by n.event_id desc
 limit %(limit)s

-- name: unread
select coalesce((select unread from hark.inbox where recipient_id = %(recipient)s), 0) as unread

-- name: mark_seen
update hark.notification
   set seen_at = %(now)s
 where recipient_id = %(recipient)s and event_id = any(%(events)s::bigint[]) and in_app and seen_at is null

-- part: read_some
marked as (
    update hark.notification
       set read_at = %(now)s, seen_at = coalesce(seen_at, %(now)s)
     where recipient_id = %(recipient)s and event_id = any(%(events)s::bigint[]) and in_app and read_at is null
    returning archived_at is null as was_unread
)

-- part: read_all
marked as (
    update hark.notification
       set read_at = %(now)s, seen_at = coalesce(seen_at, %(now)s)
     where recipient_id = %(recipient)s and event_id <= %(up_to)s and in_app and read_at is null
    returning archived_at is null as was_unread
)

-- part: archived
marked as (
    update hark.notification
       set archived_at = %(now)s
     where recipient_id = %(recipient)s and event_id = any(%(events)s::bigint[]) and in_app and archived_at is null
    returning read_at is null as was_unread
)

-- part: uncounted
-- The count moves with the rows: in the same statement, by as many as really changed.
uncounted as (
    update hark.inbox
       set unread = unread - (select count(*) from marked where was_unread)
     where recipient_id = %(recipient)s and exists (select from marked where was_unread)
)

-- name: changed
select count(*) as changed from marked
