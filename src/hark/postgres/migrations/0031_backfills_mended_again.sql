-- Backfills, mended again: users to leave out whom nobody knows are told, and one place says what it means that a backfill left something as it stands.

-- Whether the channels for a reason stand as one that a backfill changed was left by it, and were not chosen since.
create function hark.left_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select item.outcome = 'applied' and (coalesce(item.before, '{}') ? reason or coalesce(item.after, '{}') ? reason)
       and channels -> reason is not distinct from item.after -> reason
       and hark.chosen_since(chose, item.chose, jsonb_build_object(reason, null)) is not true
$$;

-- The same, of the last one that changed it: who came before that had no part in how it stands.
create function hark.left_last_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select hark.left_by(item, reason, channels, chose)
       and not exists (select from hark.backfill_item later
                        where later.recipient_id = item.recipient_id and later.outcome = 'applied'
                          and (later.at, later.backfill_id) > (item.at, item.backfill_id)
                          and (coalesce(later.before, '{}') ? reason or coalesce(later.after, '{}') ? reason))
$$;

alter table hark.cohort
    add column excluded_unknown bigint not null default 0,
    add column leaving_nobody   smallint[] not null default '{}';

-- Whether what a backfill did was taken back, and not restored since: by the latest undo that changed something, if that was
-- not taken back in turn.
create function hark.taken_back(which bigint)
returns boolean language sql stable parallel safe as $$
    with recursive back (id, depth) as (
        select which, 0
         union all
        select undo.id, back.depth + 1
          from back
         cross join lateral (
            select u.id
              from hark.backfill u
             where u.undoes = back.id and u.state in ('APPLIED', 'VERIFIED')
               and exists (select from hark.backfill_batch b where b.backfill_id = u.id and b.applied > 0)
             order by u.id desc
             limit 1
         ) undo
    )
    select max(depth) % 2 = 1 from back
$$;
