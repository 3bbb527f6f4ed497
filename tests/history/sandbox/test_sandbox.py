"""The sandbox: its goods, its faults, what steers it."""

from __future__ import annotations

import json
import signal
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from hark.doors.cli.exits import ExitCode
from hark.durations import parse_rate
from hark.errors import BadInput, FileFaults
from hark.history.sandbox.arrivals import Arrivals, most_in_any
from hark.history.sandbox.faults import Fault, Faults, Kind, parse_fault
from hark.history.sandbox.goods import Item, Receipt
from hark.history.sandbox.groceries import read_groceries
from hark.history.sandbox.made_up import MadeUp
from tests.doors.commands import Desk
from tests.servers import data_file

ALWAYS = datetime(1970, 1, 2, tzinfo=UTC)
FILE = """Member_number,Date,itemDescription
1808,21-07-2015,tropical fruit
1808,21-07-2015,whole milk
1808,21-07-2015,whole milk
2552,05-01-2015,whole milk
"""


class TestGoods:
    def test_of_a_seed_are_always_the_same(self) -> None:
        one, two = MadeUp(users=5, seed=7).goods(), MadeUp(users=5, seed=7).goods()
        for user in one.users:
            assert list(one.lines(user, ALWAYS)) == list(two.lines(user, ALWAYS))
        assert list(one.lines("user-000001", ALWAYS)) != list(
            MadeUp(users=5, seed=8).goods().lines("user-000001", ALWAYS)
        )

    def test_have_versions_of_their_own(self) -> None:
        goods = MadeUp(users=30).goods()
        versions = [
            row.version for user in goods.users for row in goods.receipts.seen(user, ALWAYS, goods.receipts.version)
        ]
        assert len(set(versions)) == len(versions) > 30
        assert max(versions) <= goods.receipts.version

    def test_are_seen_as_they_were_at_a_version(self) -> None:
        goods = MadeUp(users=1, receipts=0).goods()
        row = Receipt("user-000001", "r", None, datetime(2026, 1, 1, tzinfo=UTC), (Item("p", 1),))
        first = goods.receipts.put(row)
        second = goods.receipts.put(Receipt(row.user_id, "r", None, row.at, (Item("p", 2),)))
        seen = [goods.receipts.seen(row.user_id, ALWAYS, version) for version in (first.version, second.version)]
        assert seen == [[first], [second]]
        assert goods.receipts.seen(row.user_id, ALWAYS, first.version - 1) == []
        goods.receipts.behind = 1
        assert goods.receipts.replica_version == first.version

    def test_of_a_file_are_its_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "groceries.csv"
        path.write_text(FILE)
        goods = read_groceries(path, orders=0)
        assert goods.users == ["1808", "2552"]
        lines = list(goods.lines("1808", ALWAYS))
        assert [(key, item.product_id) for key, _, _, _, item in lines] == [
            ("receipt:1808-20150721:1", "fido-tropical-fruit"),
            ("receipt:1808-20150721:2", "fido-whole-milk"),
            ("receipt:1808-20150721:3", "fido-whole-milk"),
        ]
        ordered = read_groceries(path, orders=1, newest=date(2026, 11, 26))
        assert [key for key, *_ in ordered.lines("1808", ALWAYS)] == [f"order:1808-20150721-{n}" for n in (1, 2, 3)]
        assert {at.date() for _, _, at, _, _ in ordered.lines("1808", ALWAYS)} == {date(2026, 11, 26)}

    @pytest.mark.data
    def test_of_the_real_file_are_all_its_lines(self) -> None:
        goods = read_groceries(data_file("groceries.csv"))
        bought = Counter(key.partition(":")[0] for user in goods.users for key, *_ in goods.lines(user, ALWAYS))
        assert (len(goods.users), bought.total()) == (3898, 38_765)
        assert 0.1 < bought["order"] / bought.total() < 0.3
        assert 60 < len(goods.products) < 107  # about half of 167

    def test_all_faults_of_a_file_are_named(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.csv"
        path.write_text(FILE + "1,2015-07-21,milk\n1,,milk\n1,21-07-2015\n")
        with pytest.raises(FileFaults) as caught:
            read_groceries(path)
        assert [fault.line for fault in caught.value.faults] == [6, 7, 8]

    @pytest.mark.parametrize("text", ["", "a,b,c\n", "\xff"])
    def test_another_file_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "bad.csv"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(BadInput, match="Member_number,Date,itemDescription"):
            read_groceries(path)
        with pytest.raises(BadInput, match="cannot be read"):
            read_groceries(tmp_path / "none.csv")


class TestFaults:
    def test_are_read_as_they_are_written(self) -> None:
        assert parse_fault("slow") == Fault(Kind.SLOW)
        written = "too_many, source=shop, share=0.2, times=50, retry_after=1.5, seconds=3"
        assert parse_fault(written) == Fault(Kind.TOO_MANY, "shop", 0.2, 50, "1.5", 3.0)

    @pytest.mark.parametrize(
        "date", ["Fri, 27 Nov 2026 08:00:00 GMT", "Friday, 27-Nov-26 08:00:00 GMT", "Fri Nov 27 08:00:00 2026"]
    )
    def test_what_has_a_comma_stands_in_quotes(self, date: str) -> None:
        read = parse_fault(f'too_many, retry_after="{date}" ,times=5')
        assert read == Fault(Kind.TOO_MANY, times=5, retry_after=date)
        with pytest.raises(BadInput, match="what has a comma in double quotes"):
            parse_fault("too_many,retry_after=Fri, 27 Nov 2026 08:00:00 GMT")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "tired",
            "slow,seconds",
            "slow,seconds=long",
            "slow,share=2",
            "slow,source=me",
            "slow,times=-1",
            "slow,x=1",
        ],
    )
    def test_others_are_refused(self, text: str) -> None:
        with pytest.raises(BadInput, match="write"):
            parse_fault(text)

    def test_all_that_is_wrong_with_one_is_told_at_once(self) -> None:
        with pytest.raises(BadInput) as refused:
            parse_fault("tired,share=2,source=x,times=-1,y")
        said = [line.partition(" ")[0] for line in str(refused.value).splitlines()]
        assert said == ['"tired"', 'share="2"', 'source="x"', 'times="-1"', '"y"']

    def test_strike_so_often_and_at_so_many(self) -> None:
        faults = Faults([Fault(Kind.ERROR, times=3), Fault(Kind.SLOW, source="shop"), Fault(Kind.HALF, share=0.25)])
        struck = Counter(kind for _ in range(400) for kind in faults.strike("purchase"))
        assert struck[Kind.ERROR] == 3
        assert struck[Kind.SLOW] == 0
        assert 60 < struck[Kind.HALF] < 140
        assert Kind.SLOW in faults.strike("shop")


class TestArrivals:
    def test_the_worst_period_is_found_wherever_it_begins(self) -> None:
        assert most_in_any(1.0, []) == 0
        assert most_in_any(1.0, [0.0, 0.5, 0.999, 1.0, 1.4, 1.49, 3.0]) == 5

    def test_a_limit_says_how_long_to_wait(self) -> None:
        arrivals = Arrivals(parse_rate("2/s"))
        assert [arrivals.wait(at) for at in (0.0, 0.4, 0.5, 1.0)] == [0.0, 0.0, 0.5, 0.0]


def test_the_command_serves_and_is_steered_and_ends_with_grace(desk: Desk) -> None:
    process = desk.spawn("sandbox", "--port", "0", "--users", "3", "--fault", "error,times=1", "--json")
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["users"] == 3

        def call(path: str, content: object = None) -> bytes:
            body = None if content is None else json.dumps(content).encode()
            with urlopen(Request(told["url"] + path, body, {"content-type": "application/json"})) as answer:
                return bytes(answer.read())

        assert call("/sandbox/users") == b"user-000001\nuser-000002\nuser-000003\n"
        assert json.loads(call("/sandbox/faults"))[0]["kind"] == "error"
        assert len(json.loads(call("/sandbox/faults", {"kind": "slow", "times": 0}))) == 2
        with pytest.raises(HTTPError) as refused:
            call("/sandbox/faults", {"kind": "slow", "source": "purchse"})
        assert refused.value.code == 422 and b"did you mean purchase?" in refused.value.read()
        assert len(json.loads(call("/sandbox/faults"))) == 2
        at = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        new = {"user_id": "user-000001", "id": "b", "at": at, "item": {"product_id": "p", "amount_minor": 5}}
        assert json.loads(call("/sandbox/orders", new))["version"] > 0
        assert json.loads(call("/sandbox/replica", {"behind": 2})) == {"behind": 2}
        assert json.loads(call("/sandbox"))["behind"] == 2
        assert json.loads(call("/sandbox/arrivals?source=shop"))["count"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == ExitCode.DONE
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "tired"], '"tired" is no fault'),
        (["--newest", "yesterday"], '"yesterday" is not a day; write 2026-11-26'),
        (["--limit", "fast"], "is not a rate"),
        (["--file", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_the_command_refuses_what_cannot_be(desk: Desk, arguments: list[str], said: str) -> None:
    ran = desk.hark("sandbox", *arguments)
    assert ran.code == ExitCode.BAD_INPUT
    assert said in ran.err
