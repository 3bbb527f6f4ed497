-- A user who buys something has the sums written that it is part of, not all of them.

-- As of which version a purchase left a sum that it does not name any more: it was corrected to another product or store, or
-- its product came into another category. A graph that is behind that gets all of the user's sums. Of who is there
-- already it is not known: any version may be the one, until the graph is level with them.
alter table hark.history_user add column recast_at bigint not null default 9223372036854775807 check (recast_at >= 0);

-- Of what is deleted the graph may still have sums, by the category that its product had.
drop index hark.fact_product;
create index fact_product on hark.fact (product_id, user_id);
