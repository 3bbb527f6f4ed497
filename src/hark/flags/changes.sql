-- name: create
insert into hark.flag (name, on_since, created_at, changed_at)
values (%(flag)s, %(now)s, %(now)s, %(now)s)
    on conflict do nothing

-- name: hold
-- With a segment: all flags that it is part of, too, in the order of their names.
select name, version, is_on
  from hark.flag
 where name = %(flag)s
    or name in (select flag from hark.flag_segment where segment = %(segment)s)
 order by name
   for no key update

-- name: names
select name from hark.flag order by name

-- name: raise
update hark.flag set version = version + 1, changed_at = %(now)s where name = %(flag)s returning name, version

-- name: turn
update hark.flag
   set version = version + 1, is_on = %(is_on)s, on_since = case when %(is_on)s then %(now)s else on_since end, changed_at = %(now)s
 where name = %(flag)s
returning name, version

-- name: attach
insert into hark.flag_segment (flag, segment, since) values (%(flag)s, %(segment)s, %(now)s) on conflict do nothing

-- name: detach
delete from hark.flag_segment where flag = %(flag)s and segment = %(segment)s

-- name: attached
select segment as name from hark.flag_segment where flag = %(flag)s order by segment
