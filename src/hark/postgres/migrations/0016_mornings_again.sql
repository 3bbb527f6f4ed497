-- Mornings again: one function for the instant of a local moment, so that the next and the last of them are the same;
-- and since when a catalogue tells those of a feed who have chosen nothing.

-- The instant of a local moment: when clocks of `zone` first show `due_time` on `day`. Of a time that comes twice where
-- clocks go back it is the first; one that they skip comes as much later as they skip, which may be on the next day.
-- (Postgres takes the second of two: `earlier` is what it would be by the clocks of the day before.)
create function hark.at_local(day date, due_time time, zone text)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    local timestamp := day + due_time;
    due timestamptz := local at time zone zone;
    earlier timestamptz := (local - ((due - interval '1 day') at time zone zone - (due - interval '1 day') at time zone 'UTC'))
                           at time zone 'UTC';
begin
    if earlier < due and earlier at time zone zone = local then
        return earlier;
    end if;
    return due;
end
$$;

-- The next moment at or after `moment` that is `due_time` in `zone` (on `due_weekday`, 0 = Monday, unless null). One of
-- yesterday may still be ahead: so it begins with yesterday.
create or replace function hark.next_local(moment timestamptz, zone text, due_time time, due_weekday smallint)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    day date := (moment at time zone zone)::date - 1;
    due timestamptz;
begin
    while day + due_time is not null loop
        if due_weekday is null or extract(isodow from day) = due_weekday + 1 then
            due := hark.at_local(day, due_time, zone);
            if due >= moment then
                return due;
            end if;
        end if;
        day := day + 1;
    end loop;
    return null;
end
$$;

-- The last moment at or before `moment` that is `due_time` in `zone` (on `due_weekday`, 0 = Monday, unless null).
create or replace function hark.last_local(moment timestamptz, zone text, due_time time, due_weekday smallint)
returns timestamptz language plpgsql stable parallel safe as $$
declare
    day date := (moment at time zone zone)::date + 1;
    due timestamptz;
begin
    while day + due_time is not null loop
        if due_weekday is null or extract(isodow from day) = due_weekday + 1 then
            due := hark.at_local(day, due_time, zone);
            if due <= moment then
                return due;
            end if;
        end if;
        day := day - 1;
    end loop;
    return null;
end
$$;

-- When the reason's own frequency last became other than never: news begin then for those who have chosen none.
alter table hark.feed
    add column returned_at       timestamptz,
    add column returned_snapshot pg_snapshot,
    add constraint returned_as_of_both check ((returned_at is null) = (returned_snapshot is null));

-- Of a feed that someone was not told of, and is with the channels that a backfill gives them: news begin here.
create function hark.returned(user_type text, reach hark.reach, before jsonb, after jsonb, frequencies jsonb, at timestamptz)
returns jsonb language sql stable parallel safe as $$
    select coalesce(jsonb_object_agg(f.reason, jsonb_build_object('at', at, 'snapshot', pg_current_snapshot()::text)), '{}')
      from hark.feed f
      left join hark.decision was
        on was.reason = f.reason and was.user_type = returned.user_type and was.reach = returned.reach
       and was.channel_choice = hark.channel_choice(before -> f.reason)
       and was.frequency_choice = hark.frequency_choice(frequencies -> f.reason)
      join hark.decision becomes
        on becomes.reason = f.reason and becomes.user_type = returned.user_type and becomes.reach = 'ok'
       and becomes.channel_choice = hark.channel_choice(after -> f.reason)
       and becomes.frequency_choice = hark.frequency_choice(frequencies -> f.reason)
     where after ? f.reason and (was.email and was.frequency in ('daily', 'weekly')) is not true
       and becomes.email and becomes.frequency in ('daily', 'weekly')
$$;
