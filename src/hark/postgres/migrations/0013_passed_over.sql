-- Digests at their edges: who was passed over in a walk, the newest first, and how far back digests are kept.

alter table hark.walk
    add column passed_over integer not null default 0 check (passed_over >= 0);

create index digest_newest on hark.digest (planned_at);

-- Digests planned before this were pruned, as far as coverage did not need them: what follows them has a beginning that is
-- not there any more.
create table hark.digest_kept (
    since timestamptz primary key
);
