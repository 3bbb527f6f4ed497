-- The projection of the facts into the graph: who does it, and what is to be written anew.

-- One projector at a time.
create table hark.projector (
    only_one    boolean primary key default true check (only_one),
    holder      text,
    lease_until timestamptz,
    constraint held_until check ((holder is null) = (lease_until is null))
);
insert into hark.projector default values;

-- -2: to be written anew, whatever the graph holds.
alter table hark.history_user drop constraint history_user_check;
alter table hark.history_user add constraint history_user_check check (projected between -2 and version);
alter table hark.product drop constraint product_check;
alter table hark.product add constraint product_check check (projected between -2 and version);
