-- Who only ever muted an entity does not follow it, and what workers stage for a backfill that was asked for elsewhere.

alter table hark.subscription
    add column followed boolean not null default true,
    add constraint heard_is_followed check (followed or muted);

alter table hark.backfill
    alter column cohort_id drop not null,
    add column to_stage jsonb,
    add column stalled_at timestamptz,
    add constraint planned_has_cohort check (cohort_id is not null or to_stage is not null and state in ('PLANNING', 'CANCELED', 'FAILED'));

-- Who publishes what they muted follows it from now on; it stays muted. A row that is followed already is not touched.
create or replace function hark.publish(
    reason       text,
    recipients   text[] default '{}',
    entities     text[] default '{}',
    actor        text default null,
    about        text default null,
    payload      jsonb default '{}',
    key          text default null,
    occurred_at  timestamptz default null,
    published_at timestamptz default clock_timestamp()
) returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    event_id bigint;
    same boolean;
    follows text[];
begin
    select r.auto_subscribe into follows from hark.reason r where r.name = publish.reason and not r.retired;
    if not found then
        raise exception 'hark: the catalogue has no reason "%"', reason
            using errcode = 'HK001',
                  hint = 'Known reasons: ' || coalesce((select string_agg(r.name, ', ' order by r.name)
                                                          from hark.reason r where not r.retired), 'none yet; run hark migrate with a catalogue');
    end if;
    recipients := coalesce(recipients, '{}');
    entities := coalesce(entities, '{}');
    if cardinality(recipients) + cardinality(entities) = 0 then
        raise exception 'hark: an event needs recipients or entities, or nobody would hear of it' using errcode = '22023';
    end if;
    if cardinality(recipients) > 10000 then
        raise exception 'hark: % recipients named in one event; at most 10000', cardinality(recipients)
            using errcode = '22023', hint = 'Subscribe them to an entity and publish to that.';
    end if;
    if cardinality(entities) > 1000 then
        raise exception 'hark: % entities named in one event; at most 1000', cardinality(entities) using errcode = '22023';
    end if;
    if array_position(recipients, null) is not null or array_position(entities, null) is not null
       or '' = any(recipients) or '' = any(entities) then
        raise exception 'hark: a recipient or entity of an event is null or empty' using errcode = '22023';
    end if;
    if exists (select from unnest(recipients || entities || array[actor, key]) as given(name) where length(name) > 255)
       or length(about) > 1000 then
        raise exception 'hark: a recipient, entity, actor or key is longer than 255 characters, or about is longer than 1000'
            using errcode = '22023';
    end if;
    if jsonb_typeof(payload) is distinct from 'object' then
        raise exception 'hark: payload is %, expected a JSON object', coalesce(jsonb_typeof(payload), 'null') using errcode = '22023';
    end if;
    if octet_length(payload::text) > 262144 then
        raise exception 'hark: payload is % bytes, at most 262144', octet_length(payload::text)
            using errcode = '22023', hint = 'Store what is large elsewhere, and publish a link to it.';
    end if;
    if not (published_at between '1900-01-01' and '9999-01-01')
       or not coalesce(occurred_at between '1900-01-01' and '9999-01-01', true) then
        raise exception 'hark: an event happens between the years 1900 and 9999, not at %', coalesce(occurred_at, published_at)
            using errcode = '22023';
    end if;
    if jsonb_path_exists(payload, 'strict $.**{100 to last}') then
        raise exception 'hark: payload is nested deeper than 100 levels' using errcode = '22023';
    end if;
    if key = '' then
        raise exception 'hark: an idempotency key may be null but not empty' using errcode = '22023';
    end if;

    insert into hark.event (reason, actor, about, payload, recipients, entities, key, occurred_at, published_at)
    values (reason, actor, about, payload, recipients, entities, key, coalesce(occurred_at, published_at), published_at)
    on conflict (key) where key is not null do nothing
    returning id into event_id;
    if event_id is not null then
        if actor is not null and follows <> '{}' then
            insert into hark.subscription (recipient_id, entity, since)
            select publish.actor, given.entity, publish.published_at
              from (select unnest(publish.entities) as entity, false as is_about
                    union all
                    select publish.about, true where publish.about ~ '^[a-z][a-z0-9_]*:.' and length(publish.about) <= 255) given
             where (hark.kind_of(given.entity) = any(follows) or given.is_about and 'about' = any(follows))
               and not exists (select from hark.subscription known
                                where known.recipient_id = publish.actor and known.entity = given.entity and known.followed)
             group by given.entity
             order by given.entity collate "C"
                on conflict (recipient_id, entity) do update set followed = true where not subscription.followed;
        end if;
        return event_id;
    end if;

    select e.id,
           (e.reason, e.actor, e.about, e.payload) is not distinct from (publish.reason collate "C", publish.actor collate "C", publish.about, publish.payload)
           and (publish.occurred_at is null or e.occurred_at = publish.occurred_at)
           and array(select distinct unnest(e.recipients) order by 1) = array(select distinct unnest(publish.recipients) collate "C" order by 1)
           and array(select distinct unnest(e.entities) order by 1) = array(select distinct unnest(publish.entities) collate "C" order by 1)
      into event_id, same
      from hark.event e where e.key = publish.key collate "C";
    if not same then
        raise exception 'hark: key "%" already names event %, whose content is other', key, event_id
            using errcode = 'HK002', hint = 'Use a new key for a new event; the same key only for a retry of the same one.';
    end if;
    return event_id;
end
$$;
