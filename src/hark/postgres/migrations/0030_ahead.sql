-- Recording facts writes less: a user who is behind already stays in the queue as they are, and what was never asked by
-- itself has no index any more.

-- Whose facts the graph lacks is said by `ahead_since` alone. An index on what changes with each fact would be written
-- with each fact. Its default is for processes of before this migration, which do not say it of users who are new.
update hark.history_user
   set ahead_since = case when projected < version then changed_at end
 where (projected < version) <> (ahead_since is not null);
alter table hark.history_user
    alter column ahead_since set default now(),
    add constraint ahead_since_when check ((projected < version) = (ahead_since is not null));
drop index hark.history_user_ahead;
create index history_user_ahead on hark.history_user (ahead_since, user_id) where ahead_since is not null;

-- Whoever comes first is written twice in one transaction: known, and moved on. Both fit into the same page.
alter table hark.history_user set (fillfactor = 45);

-- What changed of a user is found among all that they bought, which the projection reads anyway.
drop index hark.fact_moved;
alter table hark.fact set (fillfactor = 90);
