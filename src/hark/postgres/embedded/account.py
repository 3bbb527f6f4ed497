"""Who runs the server: ourselves, or, as root, an unprivileged user, for Postgres refuses to run as root."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from hark.errors import BadInput, Unreachable
from hark.postgres.embedded.server import RunAs

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that runs the server for root."""

    name: str
    uid: int
    gid: int


def server_account(cluster: Path) -> Account | None:
    """The user that runs the server of a cluster; None when that is ourselves.

    A cluster that exists belongs to the user that made it, so that one stays.

    Raises:
        BadInput: the cluster belongs to root.
        Unreachable: this machine has no unprivileged user to run it.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return _owner(cluster)
    for name in _CANDIDATES:
        account = _named(name)
        if account is not None:
            return account
    raise Unreachable(
        f"Postgres refuses to run as root, and there is no user {' or '.join(_CANDIDATES)} to run it; "
        "add one (useradd --system postgres) or set HARK_DATABASE_URL"
    )


def run_as(account: Account | None) -> RunAs:
    """How to start a program as that user."""
    return RunAs(None, None) if account is None else RunAs(account.uid, account.gid)


def barrier(path: Path, account: Account, need: int = os.R_OK | os.X_OK) -> Path | None:
    """The first directory, or the path itself, that keeps the user from reaching an absolute path; None when it may.

    Args:
        need: what the user must be allowed to do with the path itself.
    """
    for folder in reversed(path.parents):
        if not _may(folder.stat(), account, os.X_OK):
            return folder
    return None if _may(path.stat(), account, need) else path


def _may(status: os.stat_result, account: Account, need: int) -> bool:
    if status.st_uid == account.uid:
        granted = status.st_mode >> 6
    elif status.st_gid == account.gid:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    return stat.S_IMODE(granted) & need == need


def _owner(cluster: Path) -> Account:
    status = cluster.stat()
    if status.st_uid == 0:
        raise BadInput(f"{cluster} belongs to root, and Postgres refuses to run as root: chown -R it to another user")
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(f"#{status.st_uid}", status.st_uid, status.st_gid)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
