"""Which URLs may be called at all, whatever their host resolves to."""

from __future__ import annotations

from urllib.parse import urlsplit

_LONGEST = 8000


def url_fault(url: str) -> str:
    """What is wrong with a URL, without quoting it, as it may hold a secret; empty: it may be called."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL; write https://HOST/PATH"
    if parts.scheme not in ("http", "https"):
        return "is not the URL of a web server; write https://HOST/PATH"
    if "@" in parts.netloc:
        return "has a user in it; say what the server needs to know in the path or the query"
    if not parts.hostname or port == 0:
        return "names no host, or port 0; write https://HOST:PORT/PATH"
    if not url.isprintable() or " " in url:
        return "has a blank or a control character; write it as %20, %0A…"
    return f"has {len(url)} characters; write at most {_LONGEST}" if len(url) > _LONGEST else ""
