"""`[backfills]`: how many users one may change without a second person, and who is told when one ends or stalls."""

from __future__ import annotations

from collections.abc import Mapping

from hark.catalogue.mail_settings import expanded
from hark.catalogue.model import Backfills, Reason
from hark.catalogue.nodes import Node
from hark.catalogue.wording import no_such, shown
from hark.guarded.urls import url_fault

BACKFILL_KEYS = ("approval_over", "notify", "webhook")
NOTIFY_KEYS = ("reason", "to")

_EXAMPLE = '{ reason = "backfill_ended", to = ["olga"] }'


def read_backfills(node: Node | None, reasons: Mapping[str, Reason], environment: Mapping[str, str]) -> Backfills:
    """Read the section; it may be left out. `environment`: where `${NAME}` in the webhook comes from."""
    if node is None:
        return Backfills()
    table = node.table(BACKFILL_KEYS)
    approval, notify, webhook = (table.get(key) for key in BACKFILL_KEYS)
    reason, to = _notify(notify, reasons) if notify else (None, ())
    hook = _url(webhook, environment) if webhook else None
    return Backfills(_count(approval) if approval else None, reason, to, hook)


def _count(node: Node) -> int:
    if isinstance(node.value, int) and not isinstance(node.value, bool) and 0 <= node.value <= 10**12:
        return node.value
    node.fault(f"{shown(node.value)} is not a number of users; write 10000")
    return 0


def _notify(node: Node, reasons: Mapping[str, Reason]) -> tuple[str | None, tuple[str, ...]]:
    table = node.table(NOTIFY_KEYS)
    reason, to = table.need("reason", _EXAMPLE), table.need("to", _EXAMPLE)
    return _reason(reason, reasons) if reason else None, _recipients(to) if to else ()


def _reason(node: Node, reasons: Mapping[str, Reason]) -> str:
    name = node.text()
    if isinstance(node.value, str) and name not in reasons:
        node.fault(no_such("reason", name, reasons))
    return name


def _recipients(node: Node) -> tuple[str, ...]:
    people = tuple(item.line_of_text(255) for item in node.items('["olga"]'))
    if isinstance(node.value, list) and not people:
        node.fault('is empty; write ["olga"]')
    return people


def _url(node: Node, environment: Mapping[str, str]) -> str:
    url = expanded(node, environment)
    if url and (fault := url_fault(url)):
        node.fault(fault)
    return url
