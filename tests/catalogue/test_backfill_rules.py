"""`[backfills]` of hark.toml."""

from __future__ import annotations

from pathlib import Path

from hark.catalogue import Backfills
from tests.catalogue.test_catalogue import BASE, faults, load


def test_says_who_must_approve_and_who_is_told(tmp_path: Path) -> None:
    rules = """
[backfills]
approval_over = 10000
notify        = { reason = "app_shared", to = ["olga", "paul"] }
webhook       = "https://acme.example/hooks/${HOOK_TOKEN:-abc}"
"""
    read = load(tmp_path, BASE + rules).backfills
    assert read == Backfills(10000, "app_shared", ("olga", "paul"), "https://acme.example/hooks/abc")
    assert "abc" not in repr(read)
    assert load(tmp_path, BASE).backfills == Backfills()


def test_each_fault_is_shown_where_it_is(tmp_path: Path) -> None:
    rules = """\
[backfills]
approval_over = "many"
notify        = { reason = "app_shard", to = [] }
webhook       = "ftp://acme.example"
approve       = 3
"""
    found = faults(tmp_path, BASE + rules)
    assert [(fault.line, fault.where, fault.what) for fault in found] == [
        (10, "backfills.approval_over", '"many" is not a number of users; write 10000'),
        (11, "backfills.notify.reason", "no such reason; did you mean app_shared?"),
        (11, "backfills.notify.to", 'is empty; write ["olga"]'),
        (12, "backfills.webhook", "is not the URL of a web server; write https://HOST/PATH"),
        (13, "backfills.approve", "no such key; did you mean approval_over?"),
    ]
