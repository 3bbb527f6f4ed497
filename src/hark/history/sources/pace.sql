-- name: known
insert into hark.source_pace (source) values (%(source)s) on conflict (source) do nothing

-- name: take
-- One permit: a moment at which one request may go, counted by the very statement; no row: the source is left alone just
-- now. First what was told of earlier requests is taken in (`numbers`, `moments`). The moment is not before the
-- `count`-th last request is `a_window` old, nor closer to the last one than `closest` (see pace.py). All of it is read
-- off the row that the update locks, so that workers take turns. More are kept than a period may have: one that came
-- late counts among those after it. Where failures stand against the source, this one is its trial: others wait.
update hark.source_pace s
   set (taken, recent, open_until, opened_at) = (
       select s.taken + 1,
              (known.recent || next.at)[greatest(known.n + 2 - %(kept)s::int, 1):],
              case when s.failures >= %(threshold)s then next.at + %(trial)s::interval else s.open_until end,
              case when s.failures >= %(threshold)s then s.taken else s.opened_at end
         from (select coalesce(array_agg(greatest(r.at, told.at) order by r.place), '{}') as recent,
                      cardinality(s.recent) as n
                 from unnest(s.recent) with ordinality r (at, place)
                 left join (select number, max(at) as at
                              from unnest(%(numbers)s::bigint[], %(moments)s::timestamptz[]) t (number, at)
                             group by number) told
                   on told.number = s.taken - cardinality(s.recent) + r.place) known
        cross join lateral (
              select greatest(%(now)s::timestamptz,
                              (select max(at) from unnest(known.recent) r (at)) + %(closest)s::interval,
                              (select at from unnest(known.recent) r (at) order by at desc
                               offset %(count)s::int - 1 limit 1) + %(a_window)s::interval) as at) next)
 where s.source = %(source)s
   and greatest(s.held_until, s.open_until) > %(now)s is not true
returning s.taken as number, s.recent[cardinality(s.recent)] as at, s.failures

-- name: again
-- A permit that was given some time ago: by what is known now of those before it, its moment is by the same rule. No
-- moment: it was forgotten. (What is known stands here twice: in a CTE it would be of before the row was waited for.)
update hark.source_pace s
   set recent = (
       select coalesce(array_agg(case when known.number = %(number)s then greatest(known.at, next.at) else known.at end
                                 order by known.number), '{}')
         from (select s.taken - cardinality(s.recent) + r.place as number, greatest(r.at, told.at) as at
                 from unnest(s.recent) with ordinality r (at, place)
                 left join (select number, max(at) as at
                              from unnest(%(numbers)s::bigint[], %(moments)s::timestamptz[]) t (number, at)
                             group by number) told
                   on told.number = s.taken - cardinality(s.recent) + r.place) known
         left join (select greatest(r.at, told.at) + %(a_window)s::interval as at
                      from unnest(s.recent) with ordinality r (at, place)
                      left join (select number, max(at) as at
                                   from unnest(%(numbers)s::bigint[], %(moments)s::timestamptz[]) t (number, at)
                                  group by number) told
                        on told.number = s.taken - cardinality(s.recent) + r.place
                     where s.taken - cardinality(s.recent) + r.place < %(number)s
                     order by at desc offset %(count)s::int - 1 limit 1) next on true)
 where s.source = %(source)s
returning s.recent[%(number)s - s.taken + cardinality(s.recent)] as at

-- name: left_alone
select source, coalesce(held_until, 'epoch') as held_until, coalesce(open_until, 'epoch') as open_until
  from hark.source_pace
 where source = %(source)s and greatest(held_until, open_until) > %(now)s

-- name: told
update hark.source_pace s
   set recent = (
       select coalesce(array_agg(greatest(r.at, told.at) order by r.place), '{}')
         from unnest(s.recent) with ordinality r (at, place)
         left join (select number, max(at) as at
                      from unnest(%(numbers)s::bigint[], %(moments)s::timestamptz[]) t (number, at)
                     group by number) told
           on told.number = s.taken - cardinality(s.recent) + r.place)
 where source = %(source)s

-- name: held
update hark.source_pace set held_until = greatest(held_until, %(until)s) where source = %(source)s

-- name: failed
update hark.source_pace
   set failures = failures + 1,
       open_until = case when failures + 1 < %(threshold)s then open_until
                         else %(now)s::timestamptz + least(%(rest)s::interval * 2 ^ least(failures + 1 - %(threshold)s, 20),
                                                           %(longest)s::interval) end,
       opened_at = case when failures + 1 < %(threshold)s then opened_at else taken end
 where source = %(source)s and %(number)s > opened_at

-- name: worked
update hark.source_pace set failures = 0, open_until = null
 where source = %(source)s and failures > 0 and %(number)s > opened_at
