"""What lies where."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

PORT = 5432
SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 104 to 108 bytes


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where in a data directory. `root` is absolute and free of links."""

    root: Path

    @property
    def cluster(self) -> Path:
        """Postgres' own data directory, owned by the user that runs the server."""
        return self.root / "cluster"

    @property
    def start_lock(self) -> Path:
        """Held while a server is being started: one start at a time."""
        return self.root / "start.lock"

    @property
    def users_lock(self) -> Path:
        """Held shared by every process that uses the server, exclusively by the keeper that stops it."""
        return self.root / "users.lock"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.root / "keeper.lock"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.root / "server.log"

    @property
    def tag(self) -> str:
        """A short name of this directory: in the titles of the server's processes, and of its socket directory."""
        return "hark-" + hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]


def default_data_dir() -> Path:
    """Where the embedded server keeps its data when nobody says otherwise.

    Root's lies outside its home, which the unprivileged user that runs the server may not enter.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/hark/postgres")
    base = os.environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification tells to ignore relative paths.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "share") / "hark" / "postgres"


def socket_dir(layout: Layout) -> Path:
    """Where the server's socket goes: into its data directory, or to a short place when that path cannot be used.

    It may be too long, or have a comma, which libpq takes for the start of another host.
    """
    inside = layout.root / "socket"
    if len(os.fsencode(inside / SOCKET)) <= _LONGEST_SOCKET_PATH and "," not in str(inside):
        return inside
    return _short_base() / layout.tag


def _short_base() -> Path:
    own = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    fit = [
        base for base in (own, Path(tempfile.gettempdir())) if base.is_absolute() and os.access(base, os.W_OK | os.X_OK)
    ]
    return next((base for base in fit if len(os.fsencode(base)) <= _LONGEST_SOCKET_PATH - 40), Path("/tmp"))  # noqa: S108
