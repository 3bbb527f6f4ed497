-- name: cohort
select id as cohort_id, spec, user_types, state::text as state, members, rows, duplicates, unknown, other_types, excluded,
       bad, blank, excluded_unknown, leaving_nobody, objects, staged_at
  from hark.cohort
 where id = %(cohort)s

-- name: faults_after
select list, line, what, text
  from hark.cohort_fault
 where cohort_id = %(cohort)s and (list, line) > (%(list)s, %(line)s)
 order by list, line
 limit %(limit)s

-- name: segments
select name, version from hark.segment where name = any (%(names)s)

-- name: flags
select name, version from hark.flag where name = any (%(names)s)

-- name: forget
with members as (delete from hark.cohort_member where cohort_id = %(cohort)s),
     faults as (delete from hark.cohort_fault where cohort_id = %(cohort)s)
update hark.cohort set state = 'FORGOTTEN' where id = %(cohort)s and state = 'STAGED'
