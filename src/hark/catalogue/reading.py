"""hark.toml, section by section. All its faults are found before any is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hark.catalogue.backfill_rules import BACKFILL_KEYS, NOTIFY_KEYS, read_backfills
from hark.catalogue.mail_settings import EMAIL_KEYS, read_email
from hark.catalogue.model import Calendar, Catalogue, Channel, Email, Reason, Windows
from hark.catalogue.nearness import siblings
from hark.catalogue.nodes import Findings, Node, Table, line_fault
from hark.catalogue.product_sources import FEED_KEYS, SOURCE_KEYS
from hark.catalogue.reasons import DEFAULT_WINDOWS, REASON_KEYS, WINDOW_KEYS, Surroundings, read_reason, read_windows
from hark.catalogue.template_sources import FILE_KEYS, TEMPLATE_KEYS
from hark.catalogue.toml_lines import NotToml, read_file
from hark.catalogue.wording import quoted
from hark.durations import parse_local_time, parse_weekday
from hark.errors import CatalogueFaults

FILE_SECTIONS = ("user_types", "batching", "calendar", "reasons", "channels", "backfills", "settings")
CALENDAR_KEYS = ("at", "weekday")
CHANNEL_SECTIONS = ("email",)

KEYS: Mapping[str, tuple[str, ...]] = {
    "": FILE_SECTIONS,
    "batching": WINDOW_KEYS,
    "calendar": CALENDAR_KEYS,
    "reasons.NAME": REASON_KEYS,
    "reasons.NAME.batching": WINDOW_KEYS,
    "reasons.NAME.templates": TEMPLATE_KEYS,
    "reasons.NAME.templates.KIND": FILE_KEYS,
    "reasons.NAME.feed": FEED_KEYS,
    "reasons.NAME.recheck": SOURCE_KEYS,
    "channels": CHANNEL_SECTIONS,
    "channels.email": EMAIL_KEYS,
    "backfills": BACKFILL_KEYS,
    "backfills.notify": NOTIFY_KEYS,
}
"""Every key of the file, by the table that it stands in; user types and settings go by names of their own."""

_LONGEST_USER_TYPE = 100
_LONGEST_DESCRIPTION = 500


def load_catalogue(path: Path, environment: Mapping[str, str]) -> Catalogue:
    """Read and check hark.toml with the template files that it names.

    Args:
        path: the file, as its user named it; template files are looked for beside it.
        environment: where `${NAME}` in `[channels.…]` and in URLs comes from: `os.environ`.

    Raises:
        CatalogueFaults: all that is wrong with the file, each with its line and how to mend it.
    """
    try:
        document = read_file(path)
    except NotToml as refusal:
        raise CatalogueFaults(str(path), [refusal.fault]) from None
    findings = Findings(document)
    catalogue = _catalogue(findings, path.parent, environment)
    if findings.found:
        raise CatalogueFaults(str(path), findings.faults())
    return catalogue


def _catalogue(findings: Findings, folder: Path, environment: Mapping[str, str]) -> Catalogue:
    file = findings.root().table(FILE_SECTIONS)
    user_types = _user_types(file)
    around = Surroundings(user_types or None, _default_windows(file), folder, environment)
    reasons = _reasons(file, around)
    calendar = _calendar(file)
    email = _email(file, reasons, findings, environment)
    backfills = read_backfills(file.get("backfills"), reasons, environment)
    _settings(file)
    return Catalogue(user_types, reasons, email, calendar, backfills)


def _user_types(file: Table) -> dict[str, str]:
    section = file.need("user_types", '[user_types] and below it: Students = "People who look for a job"')
    entries = section.entries() if section else []
    if section and not entries and isinstance(section.value, dict):
        section.fault('is empty; write at least one, as Students = "People who look for a job"')
    for entry in entries:
        if what := line_fault(entry.name, _LONGEST_USER_TYPE):
            entry.fault(f"the name of a user type {what}")
    return {entry.name: _description(entry) for entry in entries}


def _description(node: Node) -> str:
    return "" if node.value == "" else node.line_of_text(_LONGEST_DESCRIPTION)


def _default_windows(file: Table) -> Windows:
    section = file.get("batching")
    return read_windows(section.table(WINDOW_KEYS), DEFAULT_WINDOWS) if section else DEFAULT_WINDOWS


def _reasons(file: Table, around: Surroundings) -> dict[str, Reason]:
    section = file.need("reasons", '[reasons.NAME] and below it: title = "…"')
    entries = section.entries() if section else []
    if section and not entries and isinstance(section.value, dict):
        section.fault("is empty; write at least one [reasons.NAME]")
    around = replace(around, siblings=siblings(entries))
    return {entry.name: read_reason(entry, around) for entry in entries}


def _calendar(file: Table) -> Calendar:
    section = file.get("calendar")
    if section is None:
        return Calendar()
    table, default = section.table(CALENDAR_KEYS), Calendar()
    at, weekday = table.get("at"), table.get("weekday")
    return Calendar(
        at=at.parsed(parse_local_time, default.at, '"08:00"') if at else default.at,
        weekday=weekday.parsed(parse_weekday, default.weekday, '"monday"') if weekday else default.weekday,
    )


def _email(
    file: Table, reasons: Mapping[str, Reason], findings: Findings, environment: Mapping[str, str]
) -> Email | None:
    channels = file.get("channels")
    table = channels.table(CHANNEL_SECTIONS) if channels else None
    if table and (email := table.get("email")):
        return read_email(email, environment)
    sender = next((reason for reason in reasons.values() if _uses_email(reason)), None)
    if sender is not None:
        what = f'is missing, and {quoted(sender.name)} goes by e-mail; write [channels.email] and from = "…"'
        findings.note(("channels", "email", "from"), what, because_of=("reasons", sender.name, "channels"))
    return None


def _uses_email(reason: Reason) -> bool:
    return any(Channel.EMAIL in channels for channels in reason.channels.values())


def _settings(file: Table) -> None:
    """What it holds is for `hark.config` to check; here it only must be a table."""
    section = file.get("settings")
    if section:
        section.entries()
