"""`python -m hark`: the command line."""

from __future__ import annotations

from hark.doors.cli import main

if __name__ == "__main__":
    main()
