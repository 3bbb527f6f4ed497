-- Backfills, mended: waits for locks are no attempts, plans that wait for their turn, digests that Postgres can check,
-- since when a feed is told kept in the journal, and when who chose what, so that verifying can tell a choice from a loss.

-- When each reason was chosen for last, or its choice was taken back.
alter table hark.preference
    add column chose jsonb not null default '{}' check (jsonb_typeof(chose) = 'object');

alter table hark.backfill
    add column plan_attempt integer not null default 0 check (plan_attempt >= 0),
    add column plan_due_at  timestamptz,
    add column waited       jsonb not null default '{}',
    add column forgotten_at timestamptz;
create index backfill_unmeasured on hark.backfill (id) where state = 'PLANNED' and rehearsal is null and to_change > 0;

alter table hark.backfill_batch
    add column lock_waits integer not null default 0 check (lock_waits between 0 and attempt);

-- Of feeds: what `since` said before, by reason.
alter table hark.backfill_item
    add column since jsonb;

-- SHA-256 in hex over what a batch would do: the same whenever and by whomever it is planned.
create function hark.backfill_digest(backfill bigint, batch integer)
returns text language sql stable parallel safe as $$
    select encode(sha256(convert_to(f.kind || f.request || coalesce(string_agg(p.members::text || p.change, '' order by p.number), ''), 'UTF8')), 'hex')
      from hark.backfill f
      left join hark.backfill_part p
        on p.backfill_id = f.id and p.batch = backfill_digest.batch and p.change is not null
     where f.id = backfill_digest.backfill
     group by f.id
$$;

update hark.backfill_batch b
   set digest = hark.backfill_digest(b.backfill_id, b.number)
  from hark.backfill f
 where f.id = b.backfill_id and f.state not in ('APPLIED', 'VERIFIED', 'CANCELED');
update hark.backfill f
   set hash = (select encode(sha256(convert_to(coalesce(string_agg(digest, '' order by number), ''), 'UTF8')), 'hex')
                 from hark.backfill_batch where backfill_id = f.id)
 where f.hash is not null and f.state not in ('APPLIED', 'VERIFIED', 'CANCELED');

-- Since when feeds are told, once a backfill is taken back that said so at `at`: for `reasons` what was there before, if
-- nothing has been said since.
create function hark.since_taken_back(since jsonb, was jsonb, reasons jsonb, at timestamptz)
returns jsonb language sql stable parallel safe as $$
    select coalesce(jsonb_object_agg(each.key, each.value) filter (where each.value is not null), '{}')
      from (select key, case when was is not null and reasons ? key and not value ? 'left' and (value ->> 'at')::timestamptz = since_taken_back.at
                             then was -> key else value end as value
              from jsonb_each(since_taken_back.since)) each
$$;
