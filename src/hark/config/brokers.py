"""Where Kafka's brokers are, and how they are reached, as the settings say it."""

from __future__ import annotations

import re

from hark.catalogue.wording import shown
from hark.config import kinds
from hark.errors import BadInput

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_FLAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_OPTION = re.compile(r"[a-z][a-z0-9._]*")
OURS = frozenset(("bootstrap.servers", "group.id", "enable.auto.commit", "enable.auto.offset.store", "error_cb"))
"""What Hark itself says, and nobody else."""


def kafka_brokers(value: object) -> str:
    """`HOST:PORT`, with commas between; in hark.toml also a list."""
    words = value if isinstance(value, list) else str(value).split(",")
    addresses = [str(word).strip() for word in words]
    wrong = [each for each in addresses if not _ADDRESS.fullmatch(each)]
    if wrong:
        raise BadInput(f"{shown(wrong[0])} is not an address of a broker; write HOST:9092, with commas between")
    return ",".join(addresses)


def kafka_options(value: object) -> tuple[tuple[str, str], ...]:
    """librdkafka's own options, `NAME=VALUE` with semicolons between; a secret, so no fault quotes a value."""
    if isinstance(value, tuple):
        return value
    words = [word.strip() for word in str(value).split(";") if word.strip()]
    pairs = [(name.strip(), said.strip()) for name, _, said in (word.partition("=") for word in words)]
    for name, said in pairs:
        if name in OURS:
            raise BadInput(f"{name} is Hark's own to say; leave it out")
        if not said or not _OPTION.fullmatch(name):
            raise BadInput("is not NAME=VALUE with semicolons between; write security.protocol=SASL_SSL;…")
    return tuple(pairs)


def kafka_name(value: object) -> str:
    """The name of a topic or group."""
    name = str(value).strip()
    if not _NAME.fullmatch(name):
        raise BadInput(f"{shown(value)} is no name of Kafka's; it has up to 249 letters, figures and . _ -")
    return name


def flag_name(value: object) -> str:
    """The name of a flag: Hark's own, or that of another provider."""
    name = str(value).strip()
    if not _FLAG.fullmatch(name):
        raise BadInput(f"{shown(value)} is no name of a flag; write letters, digits, dots and dashes, as history-live")
    return name


def callable_path(value: object) -> str:
    """`package.module:name`."""
    path = str(value).strip()
    module, _, name = path.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise BadInput(f"{shown(value)} names no callable; write package.module:name")
    return path


def login(value: object) -> str:
    """What a schema registry is shown, `KEY:SECRET`; a secret."""
    text = kinds.token(value)
    if not text.partition(":")[0] or not text.partition(":")[2]:
        raise BadInput("is no login; write KEY:SECRET")
    return text
