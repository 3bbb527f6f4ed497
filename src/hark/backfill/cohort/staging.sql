-- name: make_tables
-- Of this connection only, and gone with it: no write-ahead log, and nothing is left behind by a crash. `place` is the
-- number of the list times 2^40 and the line in it; lists that add come first, so that a place says which kind it is.
create temp sequence cohort_place cache 100000;
create temp table cohort_line (place bigint not null default nextval('cohort_place'), id text collate "C" not null);
create temp table cohort_bad (place bigint not null, what text not null, text text not null);
create temp table cohort_named (
    id text collate "C" not null, place bigint not null, added bigint not null, lists bigint not null, user_type text collate "C"
)

-- name: drop_tables
drop table if exists cohort_line, cohort_bad, cohort_named;
drop sequence if exists cohort_place

-- name: copy_lines
copy cohort_line (place, id) from stdin

-- name: number_from
select setval('cohort_place', %(place)s, false) as value

-- name: copy_ids
-- Of lines that follow one another: their places are counted here, which is half of what there is to send and to read.
copy cohort_line (id) from stdin

-- name: copy_bad
copy cohort_bad (place, what, text) from stdin

-- name: look_at_lines
analyze cohort_line

-- name: give_memory
-- For sorting millions of ids; until the end of the transaction.
select set_config('work_mem', %(memory)s, true) as value

-- name: begin_named
drop table cohort_named

-- name: classify
-- Every id once: where it was first named, how often by lists that add, by which lists, and who it is. In order, so that
-- the members come in order, and their index grows at its end. A table made of its rows takes them in bulk, for less than
-- an insert does.
create temp table cohort_named as
select l.id, l.place, l.added, l.lists, r.user_type
  from (select id, min(place) as place, count(*) filter (where place < %(adding)s) as added,
               bit_or(1::bigint << (place >> 40)::int) as lists
          from cohort_line
         group by id) l
  left join hark.recipient r on r.id = l.id
 order by l.id

-- name: count_named
select coalesce(sum(added - 1), 0)::bigint as duplicates,
       count(*) filter (where user_type is null and not %(strangers)s::boolean) as unknown,
       count(*) filter (where user_type <> all (%(user_types)s::text[])) as other_types
  from cohort_named
 where place < %(adding)s

-- name: count_excluded
select count(*) as excluded
  from cohort_named n
 where n.place < %(adding)s
   and (%(strangers)s::boolean or user_type is not null) and (%(user_types)s::text[] is null or user_type = any (%(user_types)s))
   and not exists (select from hark.cohort_member m where m.cohort_id = %(cohort)s and m.recipient_id = n.id)

-- name: count_excluding
-- Of the lists that leave out: how many users they name are unknown, and which of them name a user who would be meant.
select count(*) filter (where user_type is null and place >= %(adding)s and not %(strangers)s::boolean) as unknown,
       coalesce(bit_or(lists) filter (where (%(strangers)s::boolean or user_type is not null)
                                        and (%(user_types)s::text[] is null or user_type = any (%(user_types)s))
                                        and (%(everyone)s::boolean and user_type is not null
                                             or lists & %(adding_lists)s::bigint <> 0)), 0) as meant
  from cohort_named
 where lists >= %(adding_lists)s::bigint + 1

-- part: count_meant
select 0::bigint as unknown, coalesce(bit_or(n.lists), 0) as meant
  from cohort_named n
 where n.lists >= %(adding_lists)s::bigint + 1 and exists (select from

-- name: put_cohort
insert into hark.cohort (spec, user_types, objects, staged_at)
values (%(spec)s, %(user_types)s, %(objects)s, %(now)s)
returning id

-- part: everyone
select id as recipient_id from hark.recipient
 where %(user_types)s::text[] is null or user_type = any (%(user_types)s)

-- part: buyers
-- Facts know users whom nobody told Hark of as recipients.
select u.user_id as recipient_id
  from hark.history_user u
  left join hark.recipient r on r.id = u.user_id
 where (%(strangers)s::boolean or r.id is not null) and (%(user_types)s::text[] is null or r.user_type = any (%(user_types)s))

-- part: listed
select id as recipient_id from cohort_named
 where lists >> %(list)s::int & 1 = 1
   and (%(strangers)s::boolean or user_type is not null) and (%(user_types)s::text[] is null or user_type = any (%(user_types)s))

-- part: in_segment
select m.recipient_id from hark.segment_member m left join hark.recipient r on r.id = m.recipient_id
 where m.segment = %(segment)s and (%(strangers)s::boolean or r.id is not null)
   and (%(user_types)s::text[] is null or r.user_type = any (%(user_types)s))
union all
select r.id
  from hark.segment s
  join hark.recipient r on hark.rolled(s.salt, r.id) * 100000 < s.share * 4294967296
 where s.name = %(segment)s and s.kind = 'rollout'
   and (%(user_types)s::text[] is null or r.user_type = any (%(user_types)s))

-- part: in_flag
select let_in.id as recipient_id
  from (
    select m.recipient_id as id
      from hark.flag_segment fs join hark.segment_member m on m.segment = fs.segment
     where fs.flag = %(flag)s
    union
    select e.user_id from hark.enrolled e where e.flag = %(flag)s and e.is_in
    union
    select p.id
      from hark.flag_segment fs
      join hark.segment s on s.name = fs.segment and s.kind = 'rollout'
      join hark.recipient p on hark.rolled(s.salt, p.id) * 100000 < s.share * 4294967296
     where fs.flag = %(flag)s
  ) let_in
  join hark.flag f on f.name = %(flag)s and f.is_on
  left join hark.recipient r on r.id = let_in.id
 where (%(strangers)s::boolean or r.id is not null) and (%(user_types)s::text[] is null or r.user_type = any (%(user_types)s))

-- part: put_members
insert into hark.cohort_member (cohort_id, recipient_id)
select %(cohort)s, recipient_id from

-- name: put_unknown
insert into hark.cohort_fault (cohort_id, list, line, what, text)
select %(cohort)s, place >> 40, place & ((1::bigint << 40) - 1), 'no such user', id
  from cohort_named
 where user_type is null and not %(strangers)s::boolean

-- name: put_bad
insert into hark.cohort_fault (cohort_id, list, line, what, text)
select %(cohort)s, place >> 40, place & ((1::bigint << 40) - 1), what, text from cohort_bad

-- name: settle_counts
update hark.cohort
   set members = %(members)s, rows = %(rows)s, duplicates = %(duplicates)s, unknown = %(unknown)s,
       other_types = %(other_types)s, excluded = %(excluded)s, bad = %(bad)s, blank = %(blank)s,
       excluded_unknown = %(excluded_unknown)s, leaving_nobody = %(leaving_nobody)s
 where id = %(cohort)s

-- name: segments
select name, version from hark.segment where name = any (%(names)s)

-- name: segment_names
select name from hark.segment order by name

-- name: flags
select name, version from hark.flag where name = any (%(names)s)

-- name: flag_names
select name from hark.flag order by name
