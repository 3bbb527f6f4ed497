-- name: differing
-- Zones of recipients whose clocks Postgres and the caller know by other rules. `zones`, `moments` and `seconds` (east of
-- UTC) belong together by place. `since` is the first moment at which they differ.
with used as (
    select distinct zone from hark.slot
), given as (
    select * from unnest(%(zones)s::text[], %(moments)s::timestamptz[], %(seconds)s::integer[]) as each (zone, at, seconds)
)
select used.zone, known.name is not null as by_postgres, bool_or(given.zone is not null) as by_caller, min(given.at) as since
  from used
  left join pg_timezone_names known on known.name = used.zone
  left join given on given.zone = used.zone
 where case when known.name is null or given.zone is null then true
            else extract(epoch from (given.at at time zone used.zone) - (given.at at time zone 'UTC')) <> given.seconds end
 group by used.zone, known.name
 order by used.zone
