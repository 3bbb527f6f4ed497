"""One `[reasons.NAME]`: who gets it by which channels, how often, in which words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from hark.catalogue.model import Category, Channel, Frequency, Reason, Templates, Windows
from hark.catalogue.nearness import Siblings, read_auto_subscribe, read_narrower
from hark.catalogue.nodes import Node, Table
from hark.catalogue.product_sources import SOURCE_KEYS, read_feed, read_source
from hark.catalogue.template_sources import read_templates
from hark.catalogue.wording import no_such, quoted, shown
from hark.durations import format_duration, parse_duration
from hark.errors import BadInput

REASON_KEYS = (
    *("title", "channels", "batching", "frequency", "group", "category", "templates", "at_least_once"),
    *("feed", "recheck", "narrower", "auto_subscribe"),
)
WINDOW_KEYS = ("cooldown", "max_stale")
FEED_FREQUENCIES = (Frequency.DAILY, Frequency.WEEKLY, Frequency.NEVER)
BATCHING_WORDS = (Frequency.IMMEDIATE, Frequency.DAILY, Frequency.WEEKLY)
LONGEST_TITLE = 200
LONGEST_WINDOW = timedelta(days=90)

DEFAULT_WINDOWS = Windows(cooldown=timedelta(minutes=4), max_stale=timedelta(hours=1))
"""What `[batching]` says when it is left out."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAME_RULE = "write a small letter, then small letters, digits and _, 63 at most"
_BATCHING_EXAMPLE = '"immediate", "daily", "weekly" or { cooldown = "4m", max_stale = "1h" }'


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a reason needs to know of the rest of the file.

    `user_types` is None when they could not be read: then none is called unknown.
    """

    user_types: Mapping[str, str] | None
    windows: Windows
    folder: Path
    environment: Mapping[str, str]
    siblings: Siblings = field(default_factory=Siblings)


def read_reason(node: Node, around: Surroundings) -> Reason:
    """Read one reason."""
    if not _NAME.fullmatch(node.name):
        node.fault(f"{quoted(node.name)} is not a name for a reason; {_NAME_RULE}")
    table = node.table(REASON_KEYS)
    title = table.need("title", 'title = "What people call it"')
    channels = table.need("channels", 'channels = { USER_TYPE = ["email", "in_app"] }')
    frequency, windows = _how_often(table, around.windows)
    feed, recheck = table.get("feed"), table.get("recheck")
    if feed and frequency not in FEED_FREQUENCIES:
        feed.fault(f'a feed is told daily or weekly, and this reason is {frequency}; write batching = "daily"')
    offered = _channels(channels, around.user_types) if channels else {}
    if feed and offered and not any(Channel.EMAIL in each for each in offered.values()):
        feed.fault("a feed is told by e-mail, and no user type gets this reason by it; add email to its channels")
    return Reason(
        name=node.name,
        title=title.line_of_text(LONGEST_TITLE) if title else "",
        channels=offered,
        frequency=frequency,
        windows=windows,
        group=_group(table.get("group"), node.name),
        category=_category(table.get("category")),
        templates=_templates(table.get("templates"), around.folder),
        at_least_once=_flag(table.get("at_least_once")),
        feed=read_feed(feed, around.folder, around.environment) if feed else None,
        recheck=read_source(recheck.table(SOURCE_KEYS), around.folder, around.environment) if recheck else None,
        narrower=read_narrower(table.get("narrower"), node.name, around.siblings),
        auto_subscribe=read_auto_subscribe(table.get("auto_subscribe")),
    )


def read_windows(table: Table, default: Windows) -> Windows:
    """Read `cooldown` and `max_stale`, each of which may be left out, and see that they fit together."""
    cooldown, max_stale = (_window(table.get(key)) for key in WINDOW_KEYS)
    windows = Windows(cooldown or default.cooldown, max_stale or default.max_stale)
    stated = [node for node in (table.get("max_stale"), table.get("cooldown")) if node]
    readable = all(_window_or_none(node) for node in stated)
    if stated and readable and windows.max_stale is not None and windows.max_stale < windows.cooldown:
        has = f"max_stale is {format_duration(windows.max_stale)}, shorter than the cooldown, "
        stated[0].fault(f"{has}{format_duration(windows.cooldown)}; make it at least as long")
    return windows


# How often -----------------------------------------------------------------------------------------------------------


def _how_often(table: Table, default: Windows) -> tuple[Frequency, Windows]:
    batching, chosen = table.get("batching"), table.get("frequency")
    usual, windows = _batching(batching, default) if batching else (Frequency.IMMEDIATE, default)
    if chosen is None:
        return usual, windows
    frequency = Frequency(chosen.one_of("frequency", list(Frequency), Frequency.IMMEDIATE))
    worded = batching is not None and batching.value in BATCHING_WORDS
    if worded and frequency not in (usual, Frequency.NEVER):
        chosen.fault(f"{shown(chosen.value)}, but batching says {usual}; leave one of them out")
    return frequency, windows


def _batching(node: Node, default: Windows) -> tuple[Frequency, Windows]:
    if isinstance(node.value, dict):
        return Frequency.BATCHED, _own_windows(node)
    if node.value in BATCHING_WORDS:
        return Frequency(node.value), default
    node.fault(f"{shown(node.value)} is not a way of batching; write {_meant_batching(node.value)}")
    return Frequency.IMMEDIATE, default


def _own_windows(node: Node) -> Windows:
    table = node.table(WINDOW_KEYS)
    table.need("cooldown", 'cooldown = "4m"')
    return read_windows(table, Windows(cooldown=timedelta(milliseconds=1), max_stale=None))


def _meant_batching(value: object) -> str:
    try:
        cooldown = parse_duration(value) if isinstance(value, str) else None
    except BadInput:
        cooldown = None
    return _BATCHING_EXAMPLE if cooldown is None else f'{{ cooldown = "{format_duration(cooldown)}" }}'


def _window(node: Node | None) -> timedelta | None:
    if node is None:
        return None
    return node.parsed(_parse_window, None, '"4m"')


def _parse_window(text: str) -> timedelta | None:
    window = parse_duration(text)
    if not window:
        raise BadInput(f'{quoted(text)} is no time at all; write 1s or more, or batching = "immediate"')
    if window > LONGEST_WINDOW:
        raise BadInput(f"{quoted(text)} is longer than {format_duration(LONGEST_WINDOW)}; write less")
    return window


def _window_or_none(node: Node) -> timedelta | None:
    """The window without noting a fault again."""
    try:
        return _parse_window(node.value) if isinstance(node.value, str) else None
    except BadInput:
        return None


# To whom, and what else ----------------------------------------------------------------------------------------------


def _channels(node: Node, user_types: Mapping[str, str] | None) -> dict[str, tuple[Channel, ...]]:
    entries = node.entries()
    if not entries and isinstance(node.value, dict):
        node.fault('is empty; write { USER_TYPE = ["email", "in_app"] }')
    for entry in entries:
        if user_types is not None and entry.name not in user_types:
            entry.fault(no_such("user type", entry.name, user_types))
    return {entry.name: tuple(_channel_list(entry)) for entry in entries}


def _channel_list(node: Node) -> Iterable[Channel]:
    seen: set[Channel] = set()
    for item in node.items('["email", "in_app"]'):
        named = item.one_of("channel", list(Channel), "")
        if not named:
            continue
        channel = Channel(named)
        if channel in seen:
            item.fault(f"{quoted(channel)} is listed twice; once is enough")
        seen.add(channel)
        yield channel


def _group(node: Node | None, reason: str) -> str:
    if node is None:
        return reason
    group = node.text()
    if isinstance(node.value, str) and not _NAME.fullmatch(group):
        node.fault(f"{quoted(group)} is not a name for a group; {_NAME_RULE}")
    return group


def _category(node: Node | None) -> Category:
    return Category(node.one_of("category", list(Category), Category.ACTIVITY)) if node else Category.ACTIVITY


def _templates(node: Node | None, folder: Path) -> Templates:
    return read_templates(node, folder) if node else Templates()


def _flag(node: Node | None) -> bool:
    return node.flag() if node else False
