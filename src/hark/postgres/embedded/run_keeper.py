"""Runs the keeper by file: `python -I -S run_keeper.py DATA_DIR`.

The keeper needs a few modules of Hark and the standard library. The packages around them are put in place bare, so
that their `__init__` (which imports everything Hark has) never runs: the keeper starts in milliseconds, stays small,
and does not depend on how the product that uses Hark finds its modules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def main() -> int:
    """Put the bare packages in place and hand over."""
    here = Path(__file__).resolve().parent
    folders = {"hark": here.parents[1], "hark.postgres": here.parent, "hark.postgres.embedded": here}
    for name, folder in folders.items():
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    from hark.postgres.embedded import keeper

    return keeper.main()


if __name__ == "__main__":
    sys.exit(main())
