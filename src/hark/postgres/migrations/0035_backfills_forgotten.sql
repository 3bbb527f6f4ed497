-- Backfills: what is forgotten takes nothing of others with it.

insert into hark.backfill_transition values
    ('APPLIED',  'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.'),
    ('VERIFIED', 'CANCELED', 'An undo: who could not be taken back is left so, and not tried again.');

create index backfill_forgotten on hark.backfill (ended_at) where forgotten_at is not null;

-- Whether of a user, by their journal, what a backfill did for a reason was taken back, and not restored since.
create function hark.taken_back_of(whose text, reason text, which bigint)
returns boolean language sql stable parallel safe as $$
    select exists (select from hark.backfill_item back
                     join hark.backfill undo on undo.id = back.backfill_id and undo.undoes = which
                    where back.recipient_id = whose and back.outcome = 'applied'
                      and (coalesce(back.before, '{}') ? reason or coalesce(back.after, '{}') ? reason)
                      and not exists (select from hark.backfill_item again
                                        join hark.backfill undone on undone.id = again.backfill_id and undone.undoes = undo.id
                                       where again.recipient_id = whose and again.outcome = 'applied'))
$$;

-- Whether backfills left the channels for some reasons (its keys) alone since then; not, if nobody knows since when. Of one
-- that is forgotten, nobody knows whom it left alone, but for whom its undo did something.
create or replace function hark.undisturbed(whose text, reasons jsonb, at timestamptz, behind bigint)
returns boolean language plpgsql stable parallel safe set plan_cache_mode = force_generic_plan as $$
begin
    if undisturbed.at is null then
        return false;
    end if;
    if exists (select from hark.backfill f
                cross join lateral jsonb_object_keys(reasons) reason
                where f.forgotten_at is not null and (f.ended_at, f.id) > (undisturbed.at, behind)
                  and f.kind = 'preferences' and f.request -> 'reasons' ? reason
                  and exists (select from hark.backfill_batch b where b.backfill_id = f.id and b.applied > 0)
                  and not hark.taken_back_of(whose, reason, f.id)) then
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
