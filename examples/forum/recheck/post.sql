-- May it still be said, to this reader, and in which words? Asked at the last moment, for all that is about to be sent.
select asked.n,
       case when post.id is null or post.deleted then 'deleted'
            when post.private and post.author <> asked.recipient_id then 'private'
            when block.person is not null then 'blocked' end as why,
       nullif(asked.payload || jsonb_build_object('title', post.title, 'text', coalesce(comment.text, post.text)),
              asked.payload) as payload
  from asked
 cross join lateral (select split_part(asked.about, ':', 1) as kind, split_part(asked.about, ':', 2)::bigint as id) thing
  left join forum.comment on thing.kind = 'comment' and comment.id = thing.id
  left join forum.post on post.id = case thing.kind when 'post' then thing.id else comment.post_id end
  left join forum.block on block.person = asked.recipient_id and block.blocked = asked.actor
