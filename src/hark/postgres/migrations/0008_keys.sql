-- Who may come in by HTTP, and what they changed.

create type hark.scope as enum ('publish', 'subscribe', 'read', 'backfill', 'audit');

-- Of a key only its SHA-256 is kept: it is 256 random bits, which nobody can guess back. A name has one key that is neither
-- revoked nor replaced; one that was replaced still opens until `expires_at`.
create table hark.api_key (
    prefix       text collate "C" primary key,
    name         text collate "C" not null check (length(name) between 1 and 100),
    hash         bytea not null check (octet_length(hash) = 32),
    scopes       hark.scope[] not null check (cardinality(scopes) > 0),
    created_at   timestamptz not null,
    expires_at   timestamptz,
    replaced_at  timestamptz check (replaced_at is null or expires_at is not null),
    revoked_at   timestamptz,
    last_used_at timestamptz
);
create unique index api_key_name on hark.api_key (name) where revoked_at is null and replaced_at is null;

create table hark.audit (
    id     bigint generated always as identity primary key,
    at     timestamptz not null,
    who    text collate "C" not null,
    what   text collate "C" not null,
    target text not null,
    detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object')
);
create index audit_who on hark.audit (who, id);
