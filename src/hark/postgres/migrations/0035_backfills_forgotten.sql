-- Backfills: what is forgotten takes nothing of others with it.

insert into hark.backfill_transition values
    ('APPLIED',  'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.'),
    ('VERIFIED', 'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.');

-- Whether backfills left the channels for some reasons (its keys) alone since then; not, if nobody knows since when.
create or replace function hark.undisturbed(whose text, reasons jsonb, at timestamptz, behind bigint)
returns boolean language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
begin
    if undisturbed.at is null then
        return false;
    end if;
    if not exists (select from hark.backfill_item later
                    where later.recipient_id = whose and later.outcome = 'applied'
                      and (later.at, later.backfill_id) > (undisturbed.at, behind)) then
        return true;
    end if;
    return not exists (select from jsonb_object_keys(reasons) reason
                        cross join lateral hark.done_since(whose, reason, undisturbed.at, behind));
end
$$;

-- Whether what a backfill did was taken back, and not restored since: by the latest undo that changed something, if that was
-- not taken back in turn. One that was called off when it had ended did what it could.
create or replace function hark.taken_back(which bigint)
returns boolean language sql stable parallel safe as $$
    with recursive back (id, depth) as (
        select which, 0
         union all
        select undo.id, back.depth + 1
          from back
         cross join lateral (
            select u.id
              from hark.backfill u
             where u.undoes = back.id
               and (u.state in ('APPLIED', 'VERIFIED')
                    or u.state = 'CANCELED'
                       and not exists (select from hark.backfill_batch b where b.backfill_id = u.id and b.state <> 'DONE'))
               and exists (select from hark.backfill_batch b where b.backfill_id = u.id and b.applied > 0)
             order by u.id desc
             limit 1
         ) undo
    )
    select max(depth) % 2 = 1 from back
$$;

-- Backfills that are forgotten, and may have changed what this one did for the same reasons: after it, or at the same time.
create function hark.forgotten_since(which bigint)
returns bigint[] language sql stable parallel safe as $$
    select array(select f.id
                   from hark.backfill b
                   join hark.backfill f on f.id <> b.id and f.kind = b.kind and f.forgotten_at is not null and f.ended_at > b.started_at
                    and f.request -> 'reasons' ?| array(select jsonb_array_elements_text(b.request -> 'reasons'))
                  where b.id = which
                    and exists (select from hark.backfill_batch d where d.backfill_id = f.id and d.applied > 0)
                  order by f.id)
$$;
