-- Who is to be written anew, and is so once more while that is being written, is not taken for written by the first one.

-- Each time the mark goes one further below: the first one's write finds another mark than it began with.
alter table hark.history_user drop constraint history_user_check, add constraint projected_at_most check (projected <= version);
alter table hark.product drop constraint product_check, add constraint projected_at_most check (projected <= version);
