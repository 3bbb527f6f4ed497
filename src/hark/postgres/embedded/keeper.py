"""The process that starts the embedded server, waits until nobody uses it any more, and stops it.

Every process that uses the server holds a shared lock on one file; the kernel lets go of it however that process ends.
The keeper sleeps on the exclusive lock of that file: when it gets it, nobody is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from hark.postgres.embedded.layout import Layout
from hark.postgres.embedded.server import RunAs, StartFailed, bring_up, stop


@dataclass(frozen=True, slots=True)
class Orders:
    """What a keeper is to do; plain values, for they travel as JSON.

    `uid` and `gid`: who runs the server, None for ourselves. `keep_data`: False removes the data directory in the end.
    The locks are inherited file descriptors; without `keeper_lock` another keeper is on duty, and this process only
    starts the server.
    """

    root: str
    command: list[str]
    socket_dir: str
    uid: int | None
    gid: int | None
    timeout_s: float
    keep_data: bool
    start_lock: int
    users_lock: int
    keeper_lock: int | None

    @property
    def layout(self) -> Layout:
        """What lies where in the data directory."""
        return Layout(Path(self.root))

    def to_json(self) -> str:
        """The orders as they are handed to the keeper's stdin."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Orders:
        """The orders as the keeper reads them."""
        return cls(**json.loads(text))


def main() -> int:
    """Bring the server up, say so by ending with 0, and leave the keeper behind.

    It holds the locks of whoever ordered it while the server starts, so that one who is killed meanwhile leaves no
    server that nobody stops.
    """
    orders = Orders.from_json(sys.stdin.read())
    try:
        bring_up(orders.layout, orders.command, RunAs(orders.uid, orders.gid), orders.timeout_s)
    except (StartFailed, OSError) as failure:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{failure}\n")
            sys.stderr.flush()
        return 1
    if orders.keeper_lock is None or os.fork():
        return 0
    _detach(orders)
    _keep(orders, orders.keeper_lock)
    return 0


def _detach(orders: Orders) -> None:
    os.close(orders.start_lock)
    os.close(orders.users_lock)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    # It ends by itself right after the last user, and must outlive them when a whole group is told to end.
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)


def _keep(orders: Orders, keeper_lock: int) -> None:
    path = orders.layout.users_lock
    users = os.open(path, os.O_RDWR)
    fcntl.flock(users, fcntl.LOCK_EX)
    if _is_still(path, users):
        _clear_away(orders)
    # In this order: whoever next gets the users' lock must see that no keeper is on duty.
    os.close(keeper_lock)
    os.close(users)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether nobody removed the data directory meanwhile, and perhaps made another one of the same name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _clear_away(orders: Orders) -> None:
    stop(orders.layout, gently=orders.keep_data)
    with contextlib.suppress(OSError):
        Path(orders.socket_dir).rmdir()
    if not orders.keep_data:
        shutil.rmtree(orders.root, ignore_errors=True)
