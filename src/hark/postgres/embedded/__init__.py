"""Hark's own private Postgres: for whoever has none, or none to spare.

    start()      takes part in using it, and brings it up if it does not run        (starting.py)
      ├─ which programs, which user, which directory, and may they reach each other (programs.py, account.py, layout.py)
      ├─ make the cluster once                                                      (cluster.py)
      └─ a keeper process starts the server, waits for its last user, and stops it  (keeper.py, server.py, processes.py)

On a Unix socket only, in a directory of mode 0700. Data stays between runs.
"""

from __future__ import annotations

from hark.postgres.embedded.layout import default_data_dir
from hark.postgres.embedded.starting import EmbeddedServer, start

__all__ = ["EmbeddedServer", "default_data_dir", "start"]
