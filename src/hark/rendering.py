"""Stage 5 of 7: rendering. In which words? In: Batch. Out: Message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, tzinfo
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from jinja2 import Environment, PackageLoader, Template, select_autoescape
from markupsafe import Markup

from hark.catalogue import Catalogue, Reason, Templates
from hark.errors import CatalogueFaults, Fault, RenderingFailed
from hark.templates import VARIABLES
from hark.templates.locality import language_of, localised, when, zone_of
from hark.templates.sandbox import Sandbox, fill, html_of, one_line, source_faults, text_of

LISTED = 50
"""How many items a message lists; the others are a number."""
SUBJECT_LENGTH = 200
PREHEADER_LENGTH = 120

BUILT_IN = Templates(
    subject="{{ title }}",
    subject_many="{{ count }} new: {{ title }}",
    text="{% if actor and about %}{{ actor }}: {{ about }}{% else %}{{ actor or about or title }}{% endif %}",
    html="{% if actor and about %}<strong>{{ actor }}</strong>: {{ about }}"
    "{% else %}{{ actor or about or title }}{% endif %}",
)
"""The words of a reason that brings none of its own."""


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery in words, not yet in any channel's wire form.

    `at` is when it was rendered (the Date header); `message_id` is stable for the delivery, without angle brackets,
    so that a provider or a mailbox can see a second copy for what it is.
    """

    delivery_id: int
    recipient_id: str
    address: str
    subject: str
    text: str
    html: str | None
    at: datetime
    message_id: str


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a batch says: a notification as its event says it, or an item of a feed, which has a `key` instead
    of an `event_id`. `at` is aware; `payload` is not trusted."""

    reason: str
    event_id: int | None
    at: datetime
    actor: str | None
    about: str | None
    payload: Mapping[str, object]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """One claimed delivery after its recheck, with the items that are left.

    Items of events may come in any order, those of feeds come by rank. When they are only some of the delivery's,
    `total` is how many it holds and `counts` how many of each reason; 0 and empty: all are here. Without `counts`,
    those of no item are taken to be of the same reasons as the others. `uncounted`: there may be still more, so their
    number is not said. `zone` is an IANA name, `locale` a tag such as `de-AT`.

    Raises:
        ValueError: no items; the recheck cancels such a delivery.
    """

    delivery_id: int
    recipient_id: str
    address: str
    zone: str
    locale: str
    items: Sequence[Item]
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    uncounted: bool = False

    def __post_init__(self) -> None:
        if not self.items:
            raise ValueError(f"delivery {self.delivery_id} has no items: there is nothing to say, so cancel it")
        object.__setattr__(self, "total", max(self.total, len(self.items)))


class Renderer:
    """Turns batches into messages, in the words of the catalogue.

    Compiled once; rendering has no clock, and no input or output but a zone's rules when it first meets the zone.

    Args:
        catalogue: the reasons with their titles and templates.
        sender_domain: what stands behind the @ of a Message-ID.
        installation: tells this database's Message-IDs from those of any other with the same domain.

    Raises:
        CatalogueFaults: templates that do not compile or that name unknown variables, all at once.
    """

    def __init__(self, catalogue: Catalogue, sender_domain: str, installation: str = "") -> None:
        faults = template_faults(catalogue)
        if faults:
            raise CatalogueFaults("hark.toml", faults)
        self.blanks: Counter[str] = Counter()
        """How often a template printed a value that was not there, by template (`app_shared.text`)."""
        sources = {f"{r.name}.{kind}": source for r in catalogue.reasons.values() for kind, source in _sources(r)}
        sandbox = Sandbox(sources, self.blanks)
        self._globals = dict(sandbox.globals)
        self._wordings = {reason.name: _Wording(reason, sandbox) for reason in catalogue.reasons.values()}
        self._text_frame, self._html_frame = _frames()
        self._sender_domain = sender_domain
        self._installation = installation

    def render(self, batch: Batch, at: datetime) -> Message:
        """Say a batch in words.

        Args:
            batch: the delivery and its items.
            at: when it is rendered, aware.

        Raises:
            RenderingFailed: a template broke on its data; names reason, template and line, never the data.
        """
        entries = self._entries(batch, at)
        subject = self._subject(batch, entries)
        page = _page(batch, subject, entries, self._sections(entries))
        return Message(
            delivery_id=batch.delivery_id,
            recipient_id=batch.recipient_id,
            address=batch.address,
            subject=subject,
            text=fill(self._text_frame, page),
            html=fill(self._html_frame, page),
            at=at,
            message_id=_message_id(batch, self._installation, self._sender_domain),
        )

    def _entries(self, batch: Batch, at: datetime) -> list[_Entry]:
        """What is listed of the items, in words."""
        zone = zone_of(batch.zone)
        now = localised(at, zone)
        told = [_told(item, self._wording(item.reason), zone, now) for item in _listed(batch.items)]
        shared = {**self._globals, "count": batch.total, "items": told, "recipient": batch.recipient_id}
        return [self._wordings[each["reason"]].entry({**shared, **each}) for each in told]

    def _wording(self, reason: str) -> _Wording:
        wording = self._wordings.get(reason)
        if wording is None:
            raise RenderingFailed(f"reason {reason}: the catalogue no longer declares it; put it back or cancel")
        return wording

    def _subject(self, batch: Batch, entries: list[_Entry]) -> str:
        counts = batch.counts or Counter([item.reason for item in batch.items])
        if len(counts) > 1:
            return one_line(self._mixed_subject(batch.total, counts), SUBJECT_LENGTH)
        first = _foremost(entries)
        template = first.wording.subject if batch.total == 1 else first.wording.subject_many
        return one_line(fill(template, first.variables), SUBJECT_LENGTH) or first.wording.title

    def _mixed_subject(self, total: int, counts: Mapping[str, int]) -> str:
        complete = sum(counts.values()) == total
        titles = [(wording.title, counts[name]) for name, wording in self._wordings.items() if name in counts]
        return f"{total} new: {', '.join(f'{count} {title}' if complete else title for title, count in titles)}"

    def _sections(self, entries: list[_Entry]) -> list[_Section]:
        """One section a reason, in the catalogue's order."""
        by_reason: dict[str, list[_Entry]] = {}
        for entry in entries:
            by_reason.setdefault(entry.variables["reason"], []).append(entry)
        names = by_reason if len(by_reason) == 1 else [name for name in self._wordings if name in by_reason]
        return [_Section(self._wordings[name].title, by_reason[name]) for name in names]


def template_faults(catalogue: Catalogue) -> list[Fault]:
    """What is wrong with the catalogue's templates; empty when nothing is. Renders none of them."""
    sandbox = Sandbox({}, Counter())
    return [
        Fault(0, f"reasons.{reason.name}.templates.{kind}", what)
        for reason in catalogue.reasons.values()
        for kind, source in _sources(reason)
        for what in source_faults(sandbox, source, VARIABLES)
    ]


class _Wording:
    """The compiled words of one reason; of `text` and `html` one may be None: it is made of the other."""

    __slots__ = ("html", "subject", "subject_many", "text", "title")

    def __init__(self, reason: Reason, sandbox: Sandbox) -> None:
        compiled = {kind: sandbox.get_template(f"{reason.name}.{kind}") for kind, _ in _sources(reason)}
        self.title = one_line(reason.title, SUBJECT_LENGTH)
        self.subject = compiled["subject"]
        self.subject_many = compiled["subject_many"]
        self.text = compiled.get("text")
        self.html = compiled.get("html")

    def entry(self, variables: dict[str, Any]) -> _Entry:
        html = "" if self.html is None else fill(self.html, variables).strip()
        text = text_of(html) if self.text is None else fill(self.text, variables).strip()
        said = text or self.title
        markup = Markup(html) if html else html_of(said)  # noqa: S704  (its template escaped the values)
        return _Entry(self, variables, variables["when"], said, markup)


@dataclass(slots=True)
class _Entry:
    """One listed item in words, with the variables that made them."""

    wording: _Wording
    variables: dict[str, Any]
    when: str
    text: str
    html: Markup


@dataclass(slots=True)
class _Section:
    """The listed items of one reason."""

    title: str
    entries: list[_Entry]


def _sources(reason: Reason) -> Iterator[tuple[str, str]]:
    """The templates of a reason by kind, with Hark's own where there is nothing to make one of."""
    own = {kind: source for kind, source in asdict(reason.templates).items() if source is not None}
    missing = {"subject", "subject_many"} - own.keys()
    if not own.keys() & {"text", "html"}:
        missing |= {"text", "html"}
    built_in = asdict(BUILT_IN)
    yield from own.items()
    yield from ((kind, built_in[kind]) for kind in sorted(missing))


@cache
def _frames() -> tuple[Template, Template]:
    """The frames as text and as HTML. They are ours and print finished words, so they need no sandbox."""
    environment = Environment(
        loader=PackageLoader("hark"),
        autoescape=select_autoescape(("html",)),
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return environment.get_template("message.txt"), environment.get_template("message.html")


def _listed(items: Sequence[Item]) -> list[Item]:
    """The newest of the events, oldest first, and behind them what feeds say, in the order of its rank.

    Feeds are capped already, so it is events that make room; but half of the list is theirs, if they need it.
    """
    feeds = [item for item in items if item.event_id is None]
    events = sorted([item for item in items if item.event_id is not None], key=attrgetter("at", "event_id"))
    newest = events[-max(LISTED - len(feeds), LISTED // 2) :]
    return newest + feeds[: LISTED - len(newest)]


def _foremost(entries: Sequence[_Entry]) -> _Entry:
    """The entry that a subject speaks of: of events the newest, of feeds what ranks first."""
    events = [entry for entry in entries if entry.variables["event_id"] is not None]
    return events[-1] if events else entries[0]


def _told(item: Item, wording: _Wording, zone: tzinfo, now: datetime) -> dict[str, Any]:
    """One item as templates see it."""
    at = localised(item.at, zone)
    return {
        "about": item.about,
        "actor": item.actor,
        "at": at,
        "event_id": item.event_id,
        "key": item.key,
        "payload": item.payload,
        "reason": item.reason,
        "title": wording.title,
        "when": when(at, now),
    }


def _page(batch: Batch, subject: str, entries: list[_Entry], sections: list[_Section]) -> dict[str, Any]:
    """What the frames print."""
    language, direction = language_of(batch.locale)
    return {
        "lang": language,
        "direction": direction,
        "subject": subject,
        "heading": subject if batch.total > 1 else sections[0].title,
        "preheader": one_line(_foremost(entries).text, PREHEADER_LENGTH),
        "sections": sections,
        "count": batch.total,
        "more": batch.total - len(entries),
        "uncounted": batch.uncounted,
    }


def _message_id(batch: Batch, installation: str, domain: str) -> str:
    whose = f"{installation}/{batch.recipient_id}".encode(errors="surrogatepass")
    return f"hark.{batch.delivery_id}.{blake2b(whose, digest_size=8).hexdigest()}@{domain}"
