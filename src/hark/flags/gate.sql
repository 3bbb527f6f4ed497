-- name: register
-- Before anything is read: from here on whoever asks which version is effective waits for this process.
insert into hark.gate_report (process, flag, version, seen_at, lease_until)
values (%(process)s, %(flag)s, -1, %(now)s, %(lease_until)s)
    on conflict (process, flag) do update set version = -1, seen_at = excluded.seen_at, lease_until = excluded.lease_until

-- name: report
-- Waits for transactions that were fenced by the version before.
update hark.gate_report
   set version = %(version)s, seen_at = %(now)s, lease_until = %(lease_until)s
 where process = %(process)s and flag = %(flag)s

-- name: leave
delete from hark.gate_report where process = %(process)s and flag = %(flag)s

-- name: fence
select version from hark.gate_report where process = %(process)s and flag = %(flag)s for share

-- name: sweep
-- Not one whose last transaction is still under way: that one is waited for.
delete from hark.gate_report r
 using (select process, flag from hark.gate_report
         where flag = %(flag)s and lease_until < %(now)s
           for update skip locked) over
 where r.process = over.process and r.flag = over.flag

-- name: behind
select process, version, seen_at, lease_until
  from hark.gate_report
 where flag = %(flag)s and version < %(version)s
 order by process

-- name: gates
select process, version, seen_at, lease_until
  from hark.gate_report
 where flag = %(flag)s
 order by process
