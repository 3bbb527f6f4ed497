"""Flags at the command line: what each verb says, and how it ends."""

from __future__ import annotations

import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk


def made(desk: Desk) -> None:
    assert desk.hark("flags", "create", "live").out == "live: version 1\n"
    said = desk.hark("flags", "segment", "set", "live", "beta", "--ids", "bob, carol").out
    assert said == "live: version 2, 2 joined, 0 left\n"


def test_who_is_in_is_said_and_is_the_exit_code(desk: Desk) -> None:
    made(desk)
    assert desk.hark("flags", "check", "bob", "--flag", "live").code == ExitCode.DONE
    out = desk.hark("flags", "check", "dora", "--flag", "live", "--json")
    assert (out.code, out.only["because"], out.only["version"]) == (ExitCode.NOT_GOOD, "in_none", 2)
    assert desk.hark("flags", "check", "dora").code == ExitCode.DONE


def test_a_change_by_a_version_that_is_gone_is_bad_input(desk: Desk) -> None:
    made(desk)
    late = desk.hark("flags", "off", "live", "--if-version", "1")
    assert (late.code, late.err) == (
        ExitCode.BAD_INPUT,
        "flag live is at version 2, not 1; look at it again, and then say so\n",
    )
    assert desk.hark("flags", "segment", "add", "live", "beta", "--ids", "bob").out == (
        "live: version 2 (nothing to change)\n"
    )
    assert desk.hark("flags", "off", "live", "--if-version", "2").out == "live: version 3\n"
    assert [line["name"] for line in desk.hark("flags", "list", "--off", "--json").objects] == ["live"]
    assert desk.hark("flags", "list", "--on").out == "no such flags: hark flags create NAME makes one\n"


def test_a_file_is_read_and_who_is_in_is_written(desk: Desk) -> None:
    made(desk)
    desk.write("more.csv", "user_id\ndora\ned\n")
    assert desk.hark("flags", "segment", "add", "live", "beta", "--file", "more.csv", "--column", "user_id").code == 0
    page = desk.hark("flags", "segment", "members", "live", "beta", "--limit", "3")
    assert [line.split()[0] for line in page.out.splitlines()] == ["user", "bob", "carol", "dora"]
    assert page.err == "there may be more: add --after dora\n"
    done = desk.hark("flags", "export", "--flag", "live", "--extra-ids", "fay,bob", "-o", "cohort.txt", "--json").only
    assert (done["users"], done["extra"]) == (5, 1)
    assert (desk.directory / "cohort.txt").read_text() == "bob\ncarol\ndora\ned\nfay\n"
    missing = desk.hark("flags", "export", "--flag", "live", "-o", "nowhere/cohort.txt")
    assert (missing.code, "cannot be written" in missing.err) == (ExitCode.BAD_INPUT, True)


def test_a_wait_says_who_is_behind(desk: Desk) -> None:
    made(desk)
    assert desk.hark("flags", "wait", "live", "--timeout", "0s").out == "version 2 of live is effective everywhere\n"
    desk.execute("insert into hark.gate_report values ('web-2/7', 'live', 1, now(), now() + interval '1 hour')")
    late = desk.hark("flags", "wait", "live", "--timeout", "0s")
    assert (late.code, late.out) == (ExitCode.NOT_GOOD, "version 2 of live is not effective after 0s\n")
    assert late.err.startswith("web-2/7 acts on version 1, seen ")
    assert desk.hark("flags", "wait", "live", "--version", "1", "--timeout", "0s").code == ExitCode.DONE
    assert "has no version 9 yet" in desk.hark("flags", "wait", "live", "--version", "9").err
    assert "web-2/7 acts on version 1" in desk.hark("flags", "show", "live").err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("segment", "set", "live", "beta", "--ids", "a", "--rollout", "5"), "exclude each other"),
        (("segment", "set", "live", "beta", "--rollout", "many"), '--rollout: "many" is not a percent'),
        (("segment", "set", "live", "beta", "--from", "people.csv"), "--from: is a path"),
        (("segment", "set", "live", "beta", "--from", "s3://flags/beta.csv"), "object_stores allows nothing"),
        (("segment", "set", "live", "beta", "--internal"), "the setting internal_users is empty"),
        (("segment", "set", "live", "new"), "say what it is made of"),
        (("segment", "set", "live", "beta", "--file", "none.csv"), "none.csv cannot be read"),
        (("segment", "set", "live", "beta", "--file", "people.csv", "--format", "xml"), "no such format"),
        (("segment", "add", "live", "beta"), "say whom"),
        (("segment", "add", "live", "beta", "--ids", ","), "names nobody"),
        (("segment", "remove", "live", "beta", "--ids", "bob", "--forget"), "is of a whole segment"),
        (("show", "lvie"), "did you mean live?"),
        (("enrol", "live"), "say whom"),
        (("create", "live"), "there is a flag live already"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_bad_input(given: tuple[str, ...], said: str, desk: Desk) -> None:
    made(desk)
    refused = desk.hark("flags", *given)
    assert (refused.code, refused.out) == (ExitCode.BAD_INPUT, "")
    assert said in refused.err
