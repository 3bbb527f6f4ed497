-- name: record
insert into hark.audit (at, who, what, target, detail)
values (%(now)s, %(who)s, %(what)s, %(target)s, %(detail)s)

-- name: listed
select id, at, who, what, target, detail
  from hark.audit
 where id < %(before)s
   and (%(who)s::text is null or who = %(who)s)
   and (%(what)s::text is null or what = %(what)s)
 order by id desc
 limit %(limit)s
