-- part: spanned
spanned as materialized (
    select recipient_id, ((row_number() over (order by recipient_id) - 1) / %(size)s)::int as place
      from (select recipient_id
              from hark.cohort_member
             where cohort_id = %(cohort)s and recipient_id > %(after)s
             order by recipient_id
             limit %(members)s) next
)

-- name: extent
select coalesce(array_agg(members order by place), '{}') as members, max(last) as last
  from (select place, count(*)::int as members, max(recipient_id) as last from spanned group by place) batch
