-- name: add
insert into hark.api_key (prefix, name, hash, scopes, created_at, expires_at)
values (%(prefix)s, %(name)s, %(hash)s, %(scopes)s::hark.scope[], %(now)s, %(expires_at)s)
    on conflict (name) where revoked_at is null and replaced_at is null do nothing

-- name: by_prefix
select name, hash, scopes::text[] as scopes, expires_at, revoked_at, last_used_at
  from hark.api_key
 where prefix = %(prefix)s

-- name: used
update hark.api_key
   set last_used_at = %(now)s
 where prefix = %(prefix)s and (last_used_at is null or last_used_at < %(stale_before)s)

-- name: listed
select name, prefix, scopes::text[] as scopes, created_at, expires_at, replaced_at, revoked_at, last_used_at
  from hark.api_key
 order by name, created_at

-- name: replace
update hark.api_key
   set replaced_at = %(now)s, expires_at = least(expires_at, %(until)s)
 where name = %(name)s and revoked_at is null and replaced_at is null
returning scopes::text[] as scopes

-- name: revoke
update hark.api_key
   set revoked_at = %(now)s
 where name = %(name)s and revoked_at is null

-- name: names
select distinct name from hark.api_key where revoked_at is null order by name
