"""How each kind of setting is read, from a text or from TOML; what cannot be is refused as `BadInput`."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from hark.catalogue.mail_settings import smtp_fault
from hark.catalogue.wording import no_such, shown
from hark.durations import Rate, format_duration, format_rate, parse_duration, parse_rate
from hark.errors import BadInput
from hark.guarded.addresses import Allowed
from hark.guarded.urls import url_fault

LOG_LEVELS = ("debug", "info", "warning", "error")

_YES, _NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def count(low: int, high: int) -> Callable[[object], int]:
    """A whole number, both bounds allowed; also as a text."""

    def read(value: object) -> int:
        number = _number(value)
        if number is None or not low <= number <= high:
            raise BadInput(f"{shown(value)} is not a whole number from {low} to {high}")
        return number

    return read


def duration(low: timedelta, high: timedelta) -> Callable[[object], timedelta]:
    """A duration, both bounds allowed, as `hark.durations` reads it."""

    def read(value: object) -> timedelta:
        duration = value if isinstance(value, timedelta) else parse_duration(_text(value))
        if not low <= duration <= high:
            raise BadInput(f"{shown(_text(value))} is not from {format_duration(low)} to {format_duration(high)}")
        return duration

    return read


def rate(most: int) -> Callable[[object], Rate]:
    """A rate, as `hark.durations` reads it, of at most so many in its period."""

    def read(value: object) -> Rate:
        rate = value if isinstance(value, Rate) else parse_rate(_text(value))
        if rate.count > most:
            raise BadInput(f"{shown(format_rate(rate))} is more than {most} at a time; write less, or a shorter period")
        return rate

    return read


def flag(value: object) -> bool:
    """True or false, also in the words that shells and containers use."""
    if isinstance(value, bool):
        return value
    word = _text(value).lower()
    if word in (*_YES, *_NO):
        return word in _YES
    raise BadInput(f"{shown(value)} is neither true nor false; write true or false")


def path(value: object) -> Path:
    """A path; `~` is the home of its user."""
    if not isinstance(value, Path | str) or not str(value) or not str(value).isprintable():
        raise BadInput(f"{shown(value)} is not a path")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise BadInput(f"{shown(str(value))} is of a user without a home; write the whole path") from None


def log_level(value: object) -> str:
    """One of `LOG_LEVELS`, in any case."""
    level = _text(value).lower()
    if level not in LOG_LEVELS:
        raise BadInput(f"{shown(value)}: {no_such('level', level, LOG_LEVELS)}")
    return level


def database_url(value: object) -> str:
    """A libpq URI or conninfo string; the value is a secret, so no fault quotes it."""
    url = _text(value).strip()
    if url.startswith(("postgresql://", "postgres://")) or ("=" in url and "://" not in url):
        return url
    raise BadInput("is not an address of Postgres; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE")


def host(value: object) -> str:
    """An address of this machine, or a name that stands for one."""
    name = _text(value).strip()
    if not name or len(name) > 253 or not name.isprintable() or any(each in name for each in " /@[]"):
        raise BadInput(f"{shown(value)} is no address of this machine; write 127.0.0.1, 0.0.0.0 or ::1")
    return name


def smtp_url(value: object) -> str:
    """The URL of a mail server; a secret too."""
    url = _text(value).strip()
    if fault := smtp_fault(url):
        raise BadInput(fault)
    return url


def web_url(value: object) -> str:
    """The base of a service's addresses; no secret: tokens are settings of their own."""
    url = _text(value).strip()
    if fault := url_fault(url) or ("has a query or a fragment" if "?" in url or "#" in url else ""):
        raise BadInput(f"{fault}; write https://HOST/PATH" if "write" not in fault else fault)
    return url


def token(value: object) -> str:
    """What a service is shown to be let in; a secret."""
    text = _text(value).strip()
    if not text or len(text) > 8000 or not text.isascii() or not text.isprintable() or " " in text:
        raise BadInput("is no token; it is letters, figures and signs without a blank")
    return text


def webhook_secret(value: object) -> str:
    """`whsec_` and 24 to 64 bytes in Base64, as standardwebhooks.com has it; a secret too."""
    text = _text(value).strip()
    try:
        size = len(b64decode(text.removeprefix("whsec_"), validate=True)) if text.startswith("whsec_") else 0
    except ValueError:
        size = 0
    if not 24 <= size <= 64:
        raise BadInput("is not whsec_ and 24 to 64 bytes in Base64; openssl rand -base64 32 makes some")
    return text


def allowed_networks(value: object) -> Allowed:
    """Networks and hosts, as a list or as a text with commas between them."""
    if isinstance(value, Allowed):
        return value
    words = value if isinstance(value, list) else _text(value).split(",")
    return Allowed.parse([_text(word).strip() for word in words])


def _text(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _number(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
