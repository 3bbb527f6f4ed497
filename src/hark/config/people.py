"""Who is internal, as the setting `internal_users` says it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hark.catalogue.wording import quoted, shown
from hark.errors import BadInput

_DOMAIN = re.compile(r"@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_LONGEST = 255


def internal_users(value: object) -> tuple[str, ...]:
    """One's own people, with commas between or as a list: `@acme.example` is a domain, anything else an id.

    Raises:
        BadInput: all that is neither, one a line.
    """
    words = value if isinstance(value, list | tuple) else str(value).split(",")
    if not all(isinstance(word, str) for word in words):
        raise BadInput(f"{shown(value)} is not a list of ids and domains; write @acme.example, bob")
    return parse_internal(word for word in words if word.strip())


def parse_internal(words: Iterable[str]) -> tuple[str, ...]:
    """Who is internal, each once and in order; raises what `internal_users` does."""
    read = sorted({word.strip().lower() if word.strip().startswith("@") else word.strip() for word in words})
    faults = [fault for word in read if (fault := _fault(word))]
    if faults:
        raise BadInput("\n".join(faults))
    return tuple(read)


def _fault(word: str) -> str:
    if word.startswith("@"):
        return "" if _DOMAIN.fullmatch(word) else f"{quoted(word)} is no domain; write @acme.example"
    good = word and len(word) <= _LONGEST and word.isprintable()
    return "" if good else f"{quoted(word)} is no id of a user; write bob, or @acme.example for a domain"
