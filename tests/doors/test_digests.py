"""`hark digests` as its users meet it."""

from __future__ import annotations

import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk

SEED = """
insert into hark.feed values ('front_page', 10, '0');
insert into hark.reason select 'front_page', 'Your front page', 'daily', cooldown, max_stale, due_time, due_weekday,
       'front_page', category, false, 99, 'f', false from hark.reason limit 1;
insert into hark.decision
select 'front_page', user_type, reach, channel_choice, frequency_choice, email, in_app, 'daily', own_frequency, why
  from hark.decision where reason = (select min(reason) from hark.decision);
insert into hark.delivery (recipient_id, channel, batch_group, frequency, gathering, at_least_once, due_at, stale_at,
                           items, created_at, changed_at)
values ('bob', 'email', '@daily', 'daily', true, false, now(), now(), 12, now(), now());
insert into hark.digest
select 'bob', 'front_page', current_date, id, pg_current_snapshot(), now(), pg_current_snapshot(), now(), 'first', 2,
       '[["a", "2026-03-02T08:00:00Z", null, null, {}]]', '{a}', 12, now() from hark.delivery;
"""
SENT = """
update hark.delivery set state = 'SENDING', gathering = false, attempt = 1, worker = 'w', lease_until = now();
update hark.delivery set state = 'SENT', outcome = 'unknown', lease_until = null;
"""


@pytest.fixture
def seeded(desk: Desk) -> Desk:
    desk.hark("recipients", "import", "people.csv")
    desk.execute(SEED)
    return desk


def test_they_are_listed_by_state(seeded: Desk) -> None:
    (line,) = seeded.hark("digests", "list", "--state", "open", "--json").objects
    assert (line["recipient_id"], line["listed"], line["total"], line["missed"]) == ("bob", 1, 12, 2)
    assert "first; 2 mornings before it were missed" in seeded.hark("digests", "list", "--user", "bob").out
    assert seeded.hark("digests", "list", "--state", "sent").out == "no such digests\n"
    assert seeded.hark("digests", "list", "--state", "lost").code == ExitCode.BAD_INPUT


def test_the_next_one_is_foretold(seeded: Desk) -> None:
    told = seeded.hark("digests", "next", "bob")
    assert "holds one already" in told.out
    refused = seeded.hark("digests", "next", "nobody")
    assert (refused.code, refused.err) == (
        ExitCode.BAD_INPUT,
        "no recipient 'nobody'; hark recipients list shows who is known\n",
    )


def test_they_are_verified(seeded: Desk) -> None:
    nothing = seeded.hark("digests", "verify")
    assert (nothing.code, nothing.out) == (ExitCode.NOT_GOOD, "nothing to compare: 1 digests, none of them sent\n")
    seeded.execute(SENT)
    good = seeded.hark("digests", "verify", "--json")
    assert good.code == ExitCode.DONE and good.only["compared"]["sent"] == 1
    seeded.execute("update hark.digest set base = null")
    bad = seeded.hark("digests", "verify")
    assert bad.code == ExitCode.NOT_GOOD
    assert "says that it follows a sent digest, and there is none" in bad.out and "1 faults" in bad.out


def test_rebasing_is_shown_before_it_is_done(seeded: Desk) -> None:
    shown = seeded.hark("digests", "rebase")
    assert "there is no need to rebase" in shown.out
    assert seeded.ask("select count(*) from hark.moment") == 1
    seeded.execute("insert into hark.moment values (now(), '9999999:9999999:')")
    assert "planning is refused" in seeded.hark("digests", "rebase").out
    assert seeded.hark("digests", "rebase", "--apply", "--json").only["applied"] is True
    assert seeded.ask("select base from hark.moment") is True


def test_a_feed_that_fails_is_seen_at_a_glance(seeded: Desk) -> None:
    seeded.execute(
        "insert into hark.walk (slot_id, reason, due_at, period, missed, opened_at, retry_at, failures, fault)"
        " select min(id), 'front_page', now(), current_date, 0, now(), now(), 3, 'items[3].key is missing'"
        "  from hark.slot"
    )
    assert "digests of 1 morning wait for a feed that fails: items[3].key is missing" in seeded.hark().out


def test_who_was_passed_over_is_seen_at_a_glance(seeded: Desk) -> None:
    seeded.execute(
        "insert into hark.walk (slot_id, reason, due_at, period, missed, opened_at, retry_at, done_at, passed_over,"
        " fault) select min(id), 'front_page', now(), current_date, 0, now(), now(), now(), 1,"
        " '1 passed over, the last bob: x' from hark.slot"
    )
    told = "1 recipient is without a digest, for a feed breaks on their data: 1 passed over, the last bob: x"
    assert told in seeded.hark().out
