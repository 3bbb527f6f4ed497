-- Backfills: another one explains only what it took itself, and what another one gave is not taken back.

-- When its users were looked at; null: before this was kept.
alter table hark.backfill_batch add column planned_at timestamptz;

-- What backfills did to the channels for a reason behind a point of the journal (`at`, and which backfill) and what is in force of
-- it, in its order: what they had, and what they got. What was undone is not in force, and neither is its undoing: both
-- together changed nothing. Of what was undone and is forgotten, when it was begun says whether it came behind that point.
-- It is asked of one user after the other: to plan that anew each time would take longer than to do it.
create function hark.done_since(whose text, reason text, at timestamptz, behind bigint)
returns table (which bigint, had jsonb, got jsonb) language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
declare
    done record;
    ids bigint[] := '{}';
    undoing bigint[] := '{}';
    hads jsonb[] := '{}';
    gots jsonb[] := '{}';
    taking bigint[] := '{}';
    taken bigint[] := '{}';
begin
    for done in
        select i.backfill_id as id, i.before -> reason as had, i.after -> reason as got, f.undoes,
               undone.forgotten_at is not null and undone.started_at >= done_since.at as of_forgotten
          from hark.backfill_item i
          join hark.backfill f on f.id = i.backfill_id
          left join hark.backfill undone on undone.id = f.undoes
         where i.recipient_id = whose and i.outcome = 'applied' and (i.at, i.backfill_id) > (done_since.at, behind)
           and (coalesce(i.before, '{}') ? reason or coalesce(i.after, '{}') ? reason)
         order by i.at desc, i.backfill_id desc
    loop
        if done.id = any (taking) then
            taken := taken || done.id;
            continue;
        end if;
        taking := taking || done.undoes;
        if done.of_forgotten is not true then
            ids := array_prepend(done.id, ids);
            undoing := array_prepend(done.undoes, undoing);
            hads := array_prepend(done.had, hads);
            gots := array_prepend(done.got, gots);
        end if;
    end loop;
    for each in 1 .. cardinality(ids) loop
        if (undoing[each] = any (taken)) is not true then
            which := ids[each];
            had := hads[each];
            got := gots[each];
            return next;
        end if;
    end loop;
end
$$;

-- Whether backfills left the channels for some reasons (its keys) alone since then.
create function hark.undisturbed(whose text, reasons jsonb, at timestamptz, behind bigint)
returns boolean language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
begin
    if not exists (select from hark.backfill_item later
                    where later.recipient_id = whose and later.outcome = 'applied'
                      and (later.at, later.backfill_id) > (undisturbed.at, behind)) then
        return true;
    end if;
    return not exists (select from jsonb_object_keys(reasons) reason
                        cross join lateral hark.done_since(whose, reason, undisturbed.at, behind));
end
$$;

-- Which backfill made it that the channels for a reason are not as `wanted` any more, though they were when it came: by its
-- journal it had it so, and left it otherwise. None, where they were otherwise before it: then something else had done it; nor
-- one whose own undo is forgotten.
create function hark.taken_by(whose text, reason text, wanted jsonb, at_least boolean, at timestamptz, behind bigint)
returns bigint language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
declare
    done record;
    taker bigint;
    was_so boolean;
    is_so boolean;
begin
    for done in select d.which, d.had, d.got from hark.done_since(whose, reason, taken_by.at, behind) d loop
        was_so := case when at_least then coalesce(done.had @> wanted, false) else done.had is not distinct from wanted end;
        is_so := case when at_least then coalesce(done.got @> wanted, false) else done.got is not distinct from wanted end;
        if not (was_so and is_so) then
            taker := case when was_so then done.which end;
            exit;
        end if;
    end loop;
    if exists (select from hark.backfill undo
                where undo.undoes = taker and undo.forgotten_at is not null
                  and exists (select from hark.backfill_batch b where b.backfill_id = undo.id and b.applied > 0)) then
        return null;
    end if;
    return taker;
end
$$;

-- As `left_by`, and none changed it since, unless that was undone: what stands is that one's own.
create or replace function hark.left_last_by(item hark.backfill_item, reason text, channels jsonb, chose jsonb)
returns boolean language sql stable parallel safe as $$
    select hark.left_by(item, reason, channels, chose)
       and hark.undisturbed(item.recipient_id, jsonb_build_object(reason, null), item.at, item.backfill_id)
$$;
