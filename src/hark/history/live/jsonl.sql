-- name: head
select head_bytes, head from hark.ingest_file where group_name = %(group)s

-- name: begin
insert into hark.ingest_file (group_name, head_bytes, head) values (%(group)s, %(head_bytes)s, %(head)s)
    on conflict do nothing
