-- Cohorts: a stand-in until the branch that reads them is merged.

create table hark.cohort (
    id      bigint generated always as identity primary key,
    members bigint not null default 0
);

create table hark.cohort_member (
    cohort_id    bigint not null,
    recipient_id text collate "C" not null,
    primary key (cohort_id, recipient_id)
);
