-- name: define
-- A history at the speed of the server: the engine's own statements as the body of one function of the scratch schema,
-- in the place of `/*= name =*/`, their placeholders as its variables (`%(now)s` is given_now).
--
-- It goes from stretch to stretch. A stretch is as many events in a row as one fan-out may take because no claim would
-- have come in between. Recipients share no message, so that is up to the event before which a message of its *own*
-- recipient was due. When that is, the engine's open batches say themselves (due_at); a message that is opened within
-- the stretch stays open for at least `open_for`. Nor does a stretch go past a morning, for its events are fanned out at
-- the time of its last one. At the start of a stretch all is claimed that was due before.
--
-- All is published at once: fan-out takes events in their order, and is told to take no more than the stretch has.
create or replace function hark.play(
    given_recipients text[],
    given_actors     text[],
    given_ats        timestamptz[],
    open_for         interval,
    look_ahead       int,
    given_reason     text,
    given_channel    hark.channel,
    given_zone       text,
    given_worker     text,
    given_pairs      int,
    given_limit      int
) returns table (recipient_id text, id bigint, attempt int, at_least_once boolean) language plpgsql as $play$
#variable_conflict use_column
declare
    first int := 1;
    claims int;
    fanned_out record;
    given_events bigint;
    given_now timestamptz;
    given_lease_until timestamptz;
    morning timestamptz;
begin
    perform 1 from (
        /*= engine.publish =*/
    ) published;
    while first <= cardinality(given_ats) loop
        given_now := given_ats[first] - interval '1 microsecond';
        given_lease_until := given_now + interval '1 day';
        loop
            claims := 0;
            for play.recipient_id, play.id, play.attempt, play.at_least_once in
                /*= claim.claim_due =*/
            loop
                claims := claims + 1;
                return next;
            end loop;
            exit when claims < given_limit;
        end loop;

        select case frequency when 'daily' then hark.next_local(given_ats[first], given_zone, due_time, null)
                              when 'weekly' then hark.next_local(given_ats[first], given_zone, due_time, due_weekday) end
          into morning
          from hark.reason
         where name = given_reason;
        select coalesce(min(place) filter (where at > least(until, morning)) - 1, max(place)) into given_events
          from (
            select place, at,
                   case when open.due_at >= given_ats[first] then open.due_at
                        else first_value(at) over (partition by recipient order by place) + open_for end as until
              from unnest(given_recipients[first : first + look_ahead - 1], given_ats[first : first + look_ahead - 1])
                   with ordinality as ahead(recipient, at, place)
              left join hark.delivery open
                on open.gathering and open.recipient_id = recipient and open.channel = given_channel
          ) judged;
        given_now := given_ats[first + given_events - 1];
        for fanned_out in
            /*= batching.fan_out =*/
        loop
            if (fanned_out.events, fanned_out.notifications) <> (given_events, given_events) then
                raise exception '% events were to be fanned out, and these were: %', given_events, fanned_out;
            end if;
        end loop;
        first := first + given_events;
    end loop;
end
$play$

-- name: publish
-- Each event by the same function that a product calls.
select count(hark.publish(%(reason)s, recipients => array[recipient], actor => actor, occurred_at => at, published_at => at))
       as events
  from (select *
          from unnest(%(recipients)s::text[], %(actors)s::text[], %(ats)s::timestamptz[])
               with ordinality as given(recipient, actor, at, place)
         order by place) in_order

-- name: play
select recipient_id, id, attempt, at_least_once
  from hark.play(%(recipients)s, %(actors)s, %(ats)s, %(open_for)s, %(look_ahead)s, %(reason)s, %(channel)s, %(zone)s,
                 %(worker)s, %(pairs)s, %(limit)s)

-- name: last_due
select max(due_at) as due_at from hark.delivery where state = 'PENDING' and channel = %(channel)s

-- name: tidy
-- What events and deliveries have left in the indexes that fan-out and claim read from their beginning.
vacuum hark.event, hark.delivery

-- name: tidy_first
vacuum (analyze) hark.event, hark.notification, hark.delivery, hark.recipient
