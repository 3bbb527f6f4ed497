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


LEFT_OUT = """update hark.delivery set left_out =
 '{"front_page/a": "deleted", "front_page/b/c": "private", "other/d": "gone", "17": "read"}'"""


def test_what_the_recheck_left_out_is_shown_with_why(seeded: Desk) -> None:
    seeded.execute(LEFT_OUT)
    (line,) = seeded.hark("digests", "list", "--user", "bob", "--json").objects
    assert line["left_out"] == {"a": "deleted", "b/c": "private"}
    assert "left out: a (deleted), b/c (private)" in seeded.hark("digests", "list", "--user", "bob").out
    many = ", ".join(f'"front_page/k{number}": "gone"' for number in range(8))
    seeded.execute(f"update hark.delivery set left_out = '{{{many}}}'")
    assert "k4 (gone) and 3 more" in seeded.hark("digests", "list").out


def test_the_next_page_begins_where_the_one_before_ended(seeded: Desk) -> None:
    (line,) = seeded.hark("digests", "list", "--json").objects
    assert len(seeded.hark("digests", "list", "--before", line["planned_at"], "--json").objects) == 1
    assert seeded.hark("digests", "list", "--before", "2020-01-01").out == "no such digests\n"
    refused = seeded.hark("digests", "list", "--before", "soon")
    assert (refused.code, "soon" in refused.err and "is not a time; write 2026-" in refused.err) == (
        ExitCode.BAD_INPUT,
        True,
    )


def test_old_ones_are_pruned_when_that_is_asked_for_twice(seeded: Desk) -> None:
    seeded.execute(SENT)
    seeded.execute(
        "insert into hark.digest select recipient_id, reason, period - 100 - n, delivery_id, since, since_at, until,"
        " until_at - n * interval '100 days', base, 0, items, keys, total, planned_at - n * interval '100 days'"
        " from hark.digest, generate_series(1, 3) n"
    )
    shown = seeded.hark("digests", "prune", "--older", "150d")
    assert shown.out == "2 digests older than 150d could go; 0 stay, for coverage needs them; --apply removes them\n"
    assert seeded.ask("select count(*) from hark.digest") == 4
    done = seeded.hark("digests", "prune", "--older", "150d", "--apply", "--json").only
    assert (done["applied"], done["pruned"]) == (True, {"old": 2, "needless": 2})
    assert seeded.ask("select count(*) from hark.digest") == 2
    refused = seeded.hark("digests", "prune", "--older", "1h")
    assert (refused.code, "--older: 1h is less than a day" in refused.err) == (ExitCode.BAD_INPUT, True)
