-- Backfills: another one explains only what it took itself, and what another one gave is not taken back.

-- What backfills did to the channels for a reason behind a point of the journal (`at`, and which backfill) and what is in force of
-- it, in its order: what they had, and what they got. What was undone is not in force, and neither is its undoing: both
-- together changed nothing. Of what was undone and is forgotten, when it was begun says whether it came behind that point.
create function hark.done_since(whose text, reason text, at timestamptz, behind bigint)
returns table (which bigint, had jsonb, got jsonb) language plpgsql stable parallel safe as $$
declare
    done record;
    lasting bigint[] := '{}';
    taking bigint[] := '{}';
    taken bigint[] := '{}';
begin
    for done in
        select i.backfill_id as id, f.undoes
          from hark.backfill_item i
          join hark.backfill f on f.id = i.backfill_id
         where i.recipient_id = whose and i.outcome = 'applied' and (i.at, i.backfill_id) > (done_since.at, behind)
           and (coalesce(i.before, '{}') ? reason or coalesce(i.after, '{}') ? reason)
         order by i.at desc, i.backfill_id desc
    loop
        if done.id = any (taking) then
            taken := taken || done.id;
        else
            lasting := lasting || done.id;
            taking := taking || done.undoes;
        end if;
    end loop;
    return query
    select i.backfill_id, i.before -> reason, i.after -> reason
      from hark.backfill_item i
      join hark.backfill f on f.id = i.backfill_id
      left join hark.backfill undone on undone.id = f.undoes
     where i.recipient_id = whose and i.backfill_id = any (lasting)
       and (f.undoes = any (taken) or undone.forgotten_at is not null and undone.started_at >= done_since.at) is not true
     order by i.at, i.backfill_id;
end
$$;

-- Whether backfills left the channels for some reasons (its keys) alone since then.
create function hark.undisturbed(whose text, reasons jsonb, at timestamptz, behind bigint)
returns boolean language sql stable parallel safe as $$
    select not exists (select from hark.backfill_item later
                        where later.recipient_id = whose and later.outcome = 'applied'
                          and (later.at, later.backfill_id) > (undisturbed.at, behind))
        or not exists (select from jsonb_object_keys(reasons) reason
                        cross join lateral hark.done_since(whose, reason, undisturbed.at, behind))
$$;

-- Which backfill made it that the channels for a reason are not as `wanted` any more, though they were when it came: by its
-- journal it had it so, and left it otherwise. None, where they were otherwise before it: then something else had done it. Of
-- what is to be exact, none, either, where it does not stand as the last one left it; nor one whose own undo is forgotten.
create function hark.taken_by(whose text, reason text, wanted jsonb, at_least boolean, held jsonb, at timestamptz, behind bigint)
returns bigint language sql stable parallel safe as $$
    with done as materialized (
        select d.place, d.which, d.got,
               case when at_least then coalesce(d.had @> wanted, false) else d.had is not distinct from wanted end as was_so,
               case when at_least then coalesce(d.got @> wanted, false) else d.got is not distinct from wanted end as is_so
          from hark.done_since(whose, reason, taken_by.at, behind) with ordinality d (which, had, got, place)
    )
    select first.which
      from (select * from done where not (was_so and is_so) order by place limit 1) first
     where first.was_so
       and (at_least or held is not distinct from (select got from done order by place desc limit 1))
       and not exists (select from hark.backfill undo
                        where undo.undoes = first.which and undo.forgotten_at is not null
                          and exists (select from hark.backfill_batch b where b.backfill_id = undo.id and b.applied > 0))
$$;

-- As `left_by`, and none changed it since, unless that was undone: what stands is that one's own.
create or replace function hark.left_last_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select hark.left_by(item, reason, channels, chose)
       and hark.undisturbed(item.recipient_id, jsonb_build_object(reason, null), item.at, item.backfill_id)
$$;
