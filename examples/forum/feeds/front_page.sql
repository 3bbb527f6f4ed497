-- What is new on the front page for each reader since the last digest that they got, most liked first.
-- By transaction, not by time: a post that was begun before the last digest and committed after it is new.
select due.recipient_id,
       'post:' || post.id as key,
       (select count(*) from forum.liked where liked.post_id = post.id)::float8 as rank,
       post.at,
       post.author as actor,
       'post:' || post.id as about,
       jsonb_build_object('title', post.title, 'text', post.text, 'path', '/posts/' || post.id) as payload
  from due
  join forum.post
    on post.xid >= pg_snapshot_xmin(due.since)
   and not pg_visible_in_snapshot(post.xid, due.since)
 where not post.deleted
   and not post.private
   and post.author <> due.recipient_id
   and not exists (select from forum.block where block.person = due.recipient_id and block.blocked = post.author)
