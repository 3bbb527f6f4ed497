-- name: catalogue_lock
select pg_advisory_xact_lock(hashtext('hark.catalogue'))

-- name: installed_reasons
select name, fingerprint from hark.reason where not retired

-- name: retire_reasons
update hark.reason set retired = true where not retired and name <> all(%(kept)s::text[])

-- name: put_user_types
insert into hark.user_type (name, description)
select * from unnest(%(names)s::text[], %(descriptions)s::text[])
    on conflict (name) do update set description = excluded.description
 where user_type.description is distinct from excluded.description

-- name: put_reasons
insert into hark.reason (name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category,
                         at_least_once, position, fingerprint, auto_subscribe)
select name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category, at_least_once, position,
       fingerprint, string_to_array(auto_subscribe, ',')
  from unnest(%(names)s::text[], %(titles)s::text[], %(frequencies)s::hark.frequency[], %(cooldowns)s::interval[],
              %(max_stales)s::interval[], %(due_times)s::time[], %(due_weekdays)s::smallint[], %(groups)s::text[],
              %(categories)s::hark.category[], %(at_least_once)s::boolean[], %(positions)s::int[], %(fingerprints)s::text[],
              %(auto_subscribes)s::text[])
       as given(name, title, frequency, cooldown, max_stale, due_time, due_weekday, batch_group, category, at_least_once,
                position, fingerprint, auto_subscribe)
    on conflict (name) do update
       set title = excluded.title, frequency = excluded.frequency, cooldown = excluded.cooldown,
           max_stale = excluded.max_stale, due_time = excluded.due_time, due_weekday = excluded.due_weekday,
           batch_group = excluded.batch_group, category = excluded.category, at_least_once = excluded.at_least_once,
           position = excluded.position, fingerprint = excluded.fingerprint, auto_subscribe = excluded.auto_subscribe, retired = false

-- name: forget_feeds
delete from hark.feed where reason = any(%(reasons)s::text[])

-- name: put_feeds
-- Before the reasons are put: whose frequency was never and is not any more, of it news begin then, see digests/planning.sql.
insert into hark.feed as f (reason, cap, overlap, returned_at, returned_snapshot)
select given.reason, given.cap, given.overlap, case when began then %(now)s::timestamptz end, case when began then pg_current_snapshot() end
  from unnest(%(reasons)s::text[], %(caps)s::int[], %(overlaps)s::interval[], %(frequencies)s::hark.frequency[])
       as given(reason, cap, overlap, frequency)
  left join hark.reason r on r.name = given.reason
 cross join lateral (select coalesce(r.frequency = 'never' and given.frequency <> 'never', false) as began) change
    on conflict (reason) do update
       set cap = excluded.cap, overlap = excluded.overlap,
           returned_at = coalesce(excluded.returned_at, f.returned_at),
           returned_snapshot = coalesce(excluded.returned_snapshot, f.returned_snapshot)
 where (f.cap, f.overlap) is distinct from (excluded.cap, excluded.overlap) or excluded.returned_at is not null

-- name: forget_facets
delete from hark.facet where base = any(%(reasons)s::text[])

-- name: put_facets
insert into hark.facet (base, rank, reason, kind)
select * from unnest(%(bases)s::text[], %(ranks)s::smallint[], %(reasons)s::text[], %(kinds)s::text[])

-- name: forget_decisions
delete from hark.decision where reason = any(%(reasons)s::text[])

-- name: put_decisions
insert into hark.decision (reason, user_type, reach, channel_choice, frequency_choice, email, in_app, frequency, own_frequency, why)
select *
  from unnest(%(reasons)s::text[], %(user_types)s::text[], %(reaches)s::hark.reach[], %(channel_choices)s::smallint[],
              %(frequency_choices)s::text[], %(email)s::boolean[], %(in_app)s::boolean[], %(frequencies)s::hark.frequency[],
              %(own_frequency)s::boolean[], %(whys)s::hark.why[])
