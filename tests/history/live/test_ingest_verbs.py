"""`hark ingest` and `hark lag` as people use them: files, dead letters, a switch."""

from __future__ import annotations

import csv
import sys
from types import SimpleNamespace

import pytest

from hark.doors.cli.exits import ExitCode
from tests.doors.commands import Desk, desk, furnished
from tests.history.live.events import FACTOIDS, RECEIPTS, factoid, jsonl, receipt, value

__all__ = ["desk", "furnished"]

KEYS = "select array_agg(key order by key) from hark.fact where not deleted"


def bought(desk: Desk) -> list[str]:
    return desk.ask(KEYS) or []


def test_a_file_is_taken_and_the_next_run_goes_on_behind_it(desk: Desk) -> None:
    lines = jsonl((RECEIPTS, receipt("r1", "milk")), (FACTOIDS, factoid("b1")), ("other", {}))
    desk.write("bought.jsonl", lines)
    first = desk.hark("ingest", "bought.jsonl", "--json")
    assert first.code == ExitCode.DONE
    assert first.only == {"messages": 3, "recorded": 2, "left_out": 0, "dead": 1, "changed": 2}
    desk.write("bought.jsonl", lines + jsonl((RECEIPTS, receipt("r2", "tea"))))
    again = desk.hark("ingest", "run", "bought.jsonl")
    assert again.out.startswith("1 messages taken: 1 recorded")
    assert "3 lines were taken before" in again.err
    assert bought(desk) == ["order:b1", "receipt:r1:1", "receipt:r2:1"]
    assert desk.hark("ingest", "bought.jsonl", "--json").only["messages"] == 0


def test_a_file_of_one_topic_has_values_alone(desk: Desk) -> None:
    desk.write("orders.jsonl", "".join(value(factoid(f"b{n}")).decode() + "\r\n" for n in range(7)))
    ran = desk.hark("ingest", "orders.jsonl", "--topic", FACTOIDS, "--ingest-chunk", "2", "--json")
    assert ran.only["recorded"] == 7
    refused = desk.hark("ingest", "orders.jsonl", "--topic", "clicks")
    assert refused.code == ExitCode.BAD_INPUT
    assert '"clicks" is none of those that are read' in refused.err


def test_another_file_of_the_same_name_is_refused(desk: Desk) -> None:
    desk.write("bought.jsonl", jsonl((RECEIPTS, receipt("r1", "milk"))))
    desk.hark("ingest", "bought.jsonl")
    desk.write("bought.jsonl", jsonl((RECEIPTS, receipt("r7", "milk")), (RECEIPTS, receipt("r8", "milk"))))
    refused = desk.hark("ingest", "bought.jsonl")
    assert refused.code == ExitCode.BAD_INPUT
    assert "is not the file that was read as jsonl:bought.jsonl" in refused.err
    assert bought(desk) == ["receipt:r1:1"]
    assert desk.hark("ingest", "bought.jsonl", "--name", "other").code == ExitCode.DONE
    assert len(bought(desk)) == 3


def test_stdin_has_no_position(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = jsonl((RECEIPTS, receipt("r1", "milk"))).encode()
    for changed in (1, 0):
        file = desk.directory / f"stdin-{changed}"
        file.write_bytes(lines)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=file.open("rb")))
        assert desk.hark("ingest", "-", "--json").only == {
            "messages": 1,
            "recorded": 1,
            "left_out": 0,
            "dead": 0,
            "changed": changed,
        }


def test_what_cannot_be_read_is_said(desk: Desk) -> None:
    for words, said in (
        (["nowhere.jsonl"], "nowhere.jsonl cannot be read: No such file"),
        ([], "no brokers are set: HARK_KAFKA_BROKERS=HOST:9092"),
        (["--topic", FACTOIDS], "--topic and --name are for files"),
        (["people.csv", "--ingest-flag", "nope"], "nope"),
        (["people.csv", "--ingest-provider", "shop:provider"], "set HARK_INGEST_FLAG"),
        (["people.csv", "--ingest-provider", "shop:provider", "--ingest-flag", "f"], "ingest_provider"),
    ):
        ran = desk.hark("ingest", *words)
        assert ran.code == ExitCode.BAD_INPUT
        assert said in ran.err
    assert bought(desk) == []


def test_a_flag_lets_in_whom_it_names(desk: Desk) -> None:
    desk.hark("flags", "create", "live")
    desk.hark("flags", "segment", "set", "live", "first", "--ids", "bob")
    desk.write("b.jsonl", jsonl((RECEIPTS, receipt("r1", "milk")), (RECEIPTS, receipt("r2", "milk", user="bob"))))
    ran = desk.hark("ingest", "b.jsonl", "--ingest-flag", "live", "--json")
    assert (ran.only["recorded"], ran.only["left_out"]) == (1, 1)
    assert bought(desk) == ["receipt:r2:1"]
    assert desk.ask("select count(*) from hark.gate_report") == 0


PROVIDER = """
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

def provider():
    def decide(flag, context):
        from openfeature.flag_evaluation import FlagResolutionDetails
        return FlagResolutionDetails(context.targeting_key == "bob")
    return InMemoryProvider({"theirs": InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=decide)})
"""


def test_any_openfeature_provider_can_decide(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("their_flags.py", PROVIDER)
    monkeypatch.syspath_prepend(str(desk.directory))
    desk.write("b.jsonl", jsonl((RECEIPTS, receipt("r1", "milk")), (RECEIPTS, receipt("r2", "milk", user="bob"))))
    gate = ("--ingest-provider", "their_flags:provider", "--ingest-flag", "theirs")
    assert desk.hark("ingest", "b.jsonl", *gate, "--json").only["left_out"] == 1
    assert bought(desk) == ["receipt:r2:1"]


def test_dead_letters_are_listed_shown_replayed_and_dropped(desk: Desk) -> None:
    odd = factoid("b1", amount="4.505")
    desk.write("b.jsonl", "{\n" + jsonl((FACTOIDS, odd), (RECEIPTS, receipt("r1", "milk", version=-1))))
    assert "3 dead; hark ingest dead list" in desk.hark("ingest", "b.jsonl").out
    listed = desk.hark("ingest", "dead", "list", "--json").objects
    assert [(each["at_offset"], each["topic"]) for each in listed] == [(0, ""), (1, FACTOIDS), (2, RECEIPTS)]
    assert "value" not in listed[0]
    one = listed[1]["id"]
    shown = desk.hark("ingest", "dead", "show", str(one))
    assert "amount has more than 2 figures behind the point" in shown.out
    assert '"amount": "4.505"' in shown.out
    assert [each["id"] for each in desk.hark("ingest", "dead", "list", "--cause", "figures", "--json").objects] == [one]
    assert desk.hark("ingest", "dead", "list", "--group", "nobody").out == "no dead letters\n"
    desk.execute(
        f"update hark.ingest_dead set value = replace(encode(value, 'escape'), '4.505', '4.50')::bytea where id = {one}"
    )
    replayed = desk.hark("ingest", "dead", "replay", "--all", "--json")
    assert replayed.code == ExitCode.NOT_GOOD
    assert replayed.only == {"replayed": 3, "recorded": 1, "left_out": 0, "dead": 2}
    assert bought(desk) == ["order:b1"]
    assert desk.hark("ingest", "dead", "drop", str(listed[0]["id"]), "--json").only == {"dropped": 1}
    written = desk.hark("ingest", "dead", "list", "-o", "dead.csv", "--json")
    assert written.only["rows"] == 1
    with (desk.directory / "dead.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["topic"], row["tries"]) == (RECEIPTS, "2")
    assert desk.hark("ingest", "dead", "drop", "--all").out == "1 letters dropped\n"


def test_nobody_means_all_by_saying_nothing(desk: Desk) -> None:
    for verb in ("replay", "drop"):
        assert "say which" in desk.hark("ingest", "dead", verb).err
        both = desk.hark("ingest", "dead", verb, "1", "--all")
        assert both.code == ExitCode.BAD_INPUT
        assert "not both" in both.err
    assert desk.hark("ingest", "dead", "show", "1").code == ExitCode.BAD_INPUT


def test_pause_and_resume_say_what_they_did(desk: Desk) -> None:
    assert desk.hark("ingest", "pause", "--as", "ann", "--json").only == {"paused": True, "turned": True}
    assert desk.hark("ingest", "pause").out.startswith("so it was already")
    assert desk.ask("select paused_by from hark.ingest_switch") == "ann"
    assert desk.hark("ingest", "resume", "--json").only == {"paused": False, "turned": True}
    assert desk.hark("ingest", "resume").out.startswith("so it was already")


def test_without_brokers_there_is_no_lag(desk: Desk) -> None:
    ran = desk.hark("lag")
    assert ran.code == ExitCode.DONE
    assert ran.out.startswith("no brokers are set")
    assert desk.hark("lag", "--json").only["configured"] is False


def test_brokers_that_are_away_are_said_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hark.history.live.brokers.PATIENCE_S", 0.5)
    ran = desk.hark("lag", "--kafka-brokers", "127.0.0.1:1")
    assert ran.code == ExitCode.UNREACHABLE
    assert "its lag cannot be read: " in ran.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("nonsense", "is not NAME=VALUE"),
        ("group.id=x", "group.id is Hark's own to say"),
        ("no.such.option=1", "no.such.option"),
    ],
)
def test_wrong_options_are_refused(desk: Desk, options: str, said: str) -> None:
    for words in (["lag"], ["ingest"]):
        ran = desk.hark(*words, "--kafka-brokers", "127.0.0.1:1", "--kafka-options", options)
        assert ran.code == ExitCode.BAD_INPUT
        assert said in ran.err
