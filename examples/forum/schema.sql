-- The forum's own tables. Hark's are beside them, in the schema hark of the same database.

create schema forum;

-- `xid` is the transaction that a post came with: the front page's digest goes by it, so that no late commit is missed.
create table forum.post (
    id      integer generated always as identity primary key,
    author  text not null,
    title   text not null,
    text    text not null,
    at      timestamptz not null,
    private boolean not null default false,
    deleted boolean not null default false,
    xid     xid8 not null default pg_current_xact_id()
);
create index on forum.post (xid);

create table forum.comment (
    id      integer generated always as identity primary key,
    post_id integer not null references forum.post,
    author  text not null,
    text    text not null,
    at      timestamptz not null
);
create index on forum.comment (post_id);

create table forum.liked (
    post_id integer references forum.post,
    person  text,
    primary key (post_id, person)
);

create table forum.block (
    person  text,
    blocked text,
    primary key (person, blocked)
);

-- Only because the clock of this example can be moved: an event is published when that clock says, not the database's.
create function forum.moved_clock() returns trigger language plpgsql as $$
begin
    new.published_at := new.occurred_at;
    return new;
end
$$;
create trigger moved_clock before insert on hark.event for each row execute function forum.moved_clock();
