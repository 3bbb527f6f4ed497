"""All settings with their defaults, and how each is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from hark.catalogue.wording import printable
from hark.config import brokers, graphs, kinds, people, stores
from hark.durations import Rate, format_duration, format_rate
from hark.guarded.addresses import NOTHING_ALLOWED, Allowed

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)
_TEN_A_SECOND = Rate(10, _SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. docs/reference/settings.md says what each is for. Secrets are kept out of `repr`."""

    database_url: str | None = field(default=None, repr=False)
    database_patience: timedelta = timedelta(minutes=5)
    data_dir: Path | None = None
    catalogue: Path | None = None
    auto_migrate: bool = True
    smtp_url: str | None = field(default=None, repr=False)
    smtp_connections: int = 4
    concurrency: int = 4
    claim_chunk: int = 200
    send_chunk: int = 50
    fanout_events: int = 500
    fanout_chunk: int = 20_000
    digest_chunk: int = 5_000
    digest_lead: timedelta = timedelta(minutes=10)
    feed_timeout: timedelta = timedelta(seconds=30)
    poll_period: timedelta = timedelta(seconds=1)
    poll_floor: timedelta = timedelta(milliseconds=20)
    lease: timedelta = timedelta(seconds=30)
    max_attempts: int = 25
    backoff_base: timedelta = timedelta(seconds=30)
    backoff_cap: timedelta = timedelta(hours=2)
    log_level: str = "info"
    rate_limit: Rate | None = None
    worker_rate_limit: Rate | None = None
    recipient_cap: Rate | None = None
    object_stores: tuple[str, ...] = ()
    object_endpoints: tuple[str, ...] = ()
    http_allow_private: Allowed = NOTHING_ALLOWED
    internal_users: tuple[str, ...] = ()
    webhook_secret: str | None = field(default=None, repr=False)
    graph_url: str | None = field(default=None, repr=False)
    graph_chunk: int = 200
    graph_timeout: timedelta = timedelta(seconds=60)
    history_look_back: timedelta = 365 * _DAY
    kafka_brokers: str | None = None
    kafka_options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ingest_receipts_topic: str = "pipeline-v1-processed-receipt-events"
    ingest_receipts_group: str = "unified-worker-receipts"
    ingest_factoids_topic: str = "factoid-stream"
    ingest_factoids_group: str = "unified-worker-factoids"
    ingest_flag: str | None = None
    ingest_provider: str | None = None
    ingest_chunk: int = 5_000
    schema_registry_url: str | None = None
    schema_registry_login: str | None = field(default=None, repr=False)
    api_host: str = "127.0.0.1"
    api_port: int = 8425
    purchase_url: str | None = None
    shop_url: str | None = None
    product_url: str | None = None
    category_url: str | None = None
    purchase_token: str | None = field(default=None, repr=False)
    shop_token: str | None = field(default=None, repr=False)
    product_token: str | None = field(default=None, repr=False)
    category_token: str | None = field(default=None, repr=False)
    source_rate: Rate = _TEN_A_SECOND
    source_timeout: timedelta = timedelta(seconds=30)
    source_patience: timedelta = timedelta(minutes=5)


NAMES = tuple(each.name for each in fields(Settings))
SOURCES = ("purchase", "shop", "product", "category")
SECRETS = frozenset(
    (
        "database_url",
        "smtp_url",
        "webhook_secret",
        "graph_url",
        "kafka_options",
        "schema_registry_login",
        *(f"{source}_token" for source in SOURCES),
    )
)
PATHS = frozenset(("data_dir", "catalogue"))

READ: Mapping[str, Callable[[object], object]] = {
    "database_url": kinds.database_url,
    "database_patience": kinds.duration(timedelta(0), _DAY),
    "data_dir": kinds.path,
    "catalogue": kinds.path,
    "auto_migrate": kinds.flag,
    "smtp_url": kinds.smtp_url,
    "smtp_connections": kinds.count(1, 100),
    "concurrency": kinds.count(1, 64),
    "claim_chunk": kinds.count(1, 10_000),
    "send_chunk": kinds.count(1, 1_000),
    "fanout_events": kinds.count(1, 10_000),
    "fanout_chunk": kinds.count(100, 1_000_000),
    "digest_chunk": kinds.count(10, 100_000),
    "digest_lead": kinds.duration(timedelta(0), 3600 * _SECOND),
    "feed_timeout": kinds.duration(_SECOND, 600 * _SECOND),
    "poll_period": kinds.duration(10 * _MILLISECOND, 60 * _SECOND),
    "poll_floor": kinds.duration(_MILLISECOND, 60 * _SECOND),
    "lease": kinds.duration(5 * _SECOND, 3600 * _SECOND),
    "max_attempts": kinds.count(1, 100),
    "backoff_base": kinds.duration(_SECOND, _DAY),
    "backoff_cap": kinds.duration(_SECOND, _DAY),
    "log_level": kinds.log_level,
    "rate_limit": kinds.rate(1_000_000),
    "worker_rate_limit": kinds.rate(1_000_000),
    "recipient_cap": kinds.rate(1_000),
    "object_stores": stores.object_stores,
    "object_endpoints": stores.object_endpoints,
    "http_allow_private": kinds.allowed_networks,
    "internal_users": people.internal_users,
    "webhook_secret": kinds.webhook_secret,
    "graph_url": graphs.graph_url,
    "graph_chunk": kinds.count(1, 2_000),
    "graph_timeout": kinds.duration(_SECOND, 3600 * _SECOND),
    "history_look_back": kinds.duration(_DAY, 3_650 * _DAY),
    "kafka_brokers": brokers.kafka_brokers,
    "kafka_options": brokers.kafka_options,
    **{f"ingest_{what}_{kind}": brokers.kafka_name for what in ("receipts", "factoids") for kind in ("topic", "group")},
    "ingest_flag": brokers.flag_name,
    "ingest_provider": brokers.callable_path,
    "ingest_chunk": kinds.count(1, 20_000),
    "schema_registry_url": kinds.web_url,
    "schema_registry_login": brokers.login,
    "api_host": kinds.host,
    "api_port": kinds.count(0, 65_535),
    **{f"{source}_url": kinds.web_url for source in SOURCES},
    **{f"{source}_token": kinds.token for source in SOURCES},
    "source_rate": kinds.rate(1_000),
    "source_timeout": kinds.duration(_SECOND, 600 * _SECOND),
    "source_patience": kinds.duration(_SECOND, _DAY),
}
"""How each setting is read from what a flag, a variable or the file says."""

_ORDERED = (("poll_floor", "poll_period"), ("backoff_base", "backoff_cap"), ("send_chunk", "claim_chunk"))


def disorders(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that are larger than another that they may not pass: the name, and what is wrong."""
    for low, high in _ORDERED:
        if getattr(settings, low) > getattr(settings, high):
            values = [in_words(name, getattr(settings, name)) for name in (low, high)]
            yield low, f"{values[0]} is more than {high}, {values[1]}; write less, or more for {high}"


def in_words(name: str, value: object) -> str:
    """A setting's value as it could be written; a secret masked."""
    if value is None or value == ():
        return "none"
    if name in SECRETS:
        return "***" if name.endswith(("_token", "_options")) else _masked(str(value))
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Rate):
        return format_rate(value)
    if isinstance(value, tuple):
        return printable(", ".join(value)) or "none"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))


def _masked(url: str) -> str:
    """Where a URL leads, without its password and options; stars where a stray sign may have put a secret there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    user, _, host = parts.netloc.rpartition("@")
    stray = "@" in f"{parts.path}{parts.query}{parts.fragment}"
    if stray or not parts.scheme or not host:
        return "***"
    return printable(f"{parts.scheme}://{'***@' if user else ''}{host}{parts.path}")
