"""Where the graph is, as the setting `graph_url` says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from hark.errors import BadInput

SCHEMES = ("neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc")

_NO_ADDRESS = "is not an address of Neo4j; write neo4j://USER:PASSWORD@HOST:7687/DATABASE, or neo4j+s:// for TLS"


@dataclass(frozen=True, slots=True)
class GraphAddress:
    """`neo4j://USER:PASSWORD@HOST:PORT/DATABASE`, taken apart; the driver wants it so."""

    url: str
    login: tuple[str, str] | None = field(repr=False)
    database: str | None

    @classmethod
    def parse(cls, text: str) -> GraphAddress:
        """Take it apart.

        Raises:
            BadInput: it is none; the text is a secret, so it is not quoted.
        """
        try:
            parts = urlsplit(text)
            port = "" if parts.port is None else f":{parts.port}"
        except ValueError:
            raise BadInput(_NO_ADDRESS) from None
        if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
            raise BadInput(_NO_ADDRESS)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        login = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        return cls(f"{parts.scheme}://{host}{port}", login, unquote(parts.path.strip("/")) or None)


def graph_url(value: object) -> str:
    """An address of Neo4j; a secret too."""
    url = value.strip() if isinstance(value, str) else ""
    GraphAddress.parse(url)
    return url
