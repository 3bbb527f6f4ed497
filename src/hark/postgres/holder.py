"""Who holds what is leased: this process, by its name."""

from __future__ import annotations

import os
import socket


def worker_name() -> str:
    """This process for people: `host/pid`."""
    return f"{socket.gethostname()}/{os.getpid()}"
