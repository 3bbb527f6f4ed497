"""A load's rate as the sources count it, by two processes: never too many in a second, and nearly all that are allowed.

It goes by the clock on the wall. By itself it takes some seconds, and looks at the limit alone, roughly: HARK_RATE=1
takes a minute, HARK_LONG=1 ten of them, as the operators' table has it, and wants 99 % of the rate; they want a machine
that is not overworked.
"""

from __future__ import annotations

import json
import os
from urllib.request import urlopen

import pytest

from tests.doors.commands import Desk

LONG = bool(os.environ.get("HARK_LONG"))
RATE, SECONDS = 10, 600 if LONG else 60 if os.environ.get("HARK_RATE") else 5
BATCH = 100 if SECONDS >= 60 else 10
"""Users: so many that both processes have some to do."""
STARVED = 2
"""How many more arrive at once where other tests take the processor between a permit and what it permits."""


@pytest.mark.parametrize("fault", [(), ("--fault", "too_many,share=0.1,retry_after=0")], ids=["calm", "storm"])
@pytest.mark.timeout(SECONDS * 2 + 120)
def test_a_load_goes_at_its_rate(desk: Desk, monkeypatch: pytest.MonkeyPatch, fault: tuple[str, ...]) -> None:
    users = str(RATE * SECONDS)
    sandbox = desk.spawn("sandbox", "--port", "0", "--users", users, "--receipts", "3", "--json", *fault)
    try:
        assert sandbox.stdout is not None
        url = json.loads(sandbox.stdout.readline())["url"]
        for name in ("PURCHASE", "SHOP"):
            monkeypatch.setenv(f"HARK_{name}_URL", url)
        monkeypatch.setenv("HARK_HTTP_ALLOW_PRIVATE", "127.0.0.1")
        (desk.directory / "users.txt").write_bytes(urlopen(f"{url}/sandbox/users").read())
        paced = ("--rate-limit", str(RATE), "--batch-size", str(BATCH))
        planned = desk.hark("backfill", "history", "--user-file", "users.txt", *paced)
        assert planned.code == 0, planned.err
        hands = [desk.spawn("backfill", "apply", "1", "--json") for _ in range(2)]
        for hand in hands:
            _, said = hand.communicate()
            # One that begins on a busy machine when the other has done all is told so.
            assert hand.returncode == 0 or "COMPLETED" in said, said
        for source in ("purchase", "shop"):
            told = json.loads(urlopen(f"{url}/sandbox/arrivals?source={source}").read())
            came = sorted(each["at"] for each in told["arrivals"])
            rate = (len(came) - 1) / (came[-1] - came[0]) / RATE
            print(f"{source}: {len(came)} requests, {rate:.2%} of the rate, {told['most_in_any_period']} at most")
            assert told["most_in_any_period"] <= RATE + (0 if LONG else STARVED)
            assert not LONG or rate >= 0.99
        assert desk.ask("select count(*) from hark.history_step where state = 'DONE'") == 2 * RATE * SECONDS
    finally:
        sandbox.kill()
        sandbox.communicate()
