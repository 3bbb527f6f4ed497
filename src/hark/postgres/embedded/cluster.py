"""The data directory and the cluster in it: claimed, checked, made once."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hark.errors import BadInput, Unreachable
from hark.postgres.embedded.account import Account, barrier, run_as
from hark.postgres.embedded.layout import PORT, SOCKET, Layout
from hark.postgres.embedded.programs import Programs
from hark.postgres.embedded.server import ENVIRONMENT, last_lines

SUPERUSER = "hark"
_NEW = "cluster.new-"
_IGNORED = frozenset({"lost+found", ".DS_Store"})


def claim_directory(data_dir: Path) -> Layout:
    """Make sure that a directory is there, is ours, and holds nothing but an embedded server.

    Raises:
        BadInput: it cannot be used; the text says why and what to do.
    """
    root = data_dir.expanduser().resolve()
    if not str(root).isprintable():
        raise BadInput(f"data directory {str(root)!r} has control characters in its name; name another one")
    try:
        _make_directory(root)
    except OSError as error:
        raise BadInput(f"data directory {root} cannot be made: {error.strerror}; name another one") from error
    layout = Layout(root)
    _check_ours(layout)
    _check_nothing_foreign(layout)
    return layout


def check_reach(layout: Layout, account: Account | None) -> None:
    """Make sure that the user who runs the server for root can enter the data directory.

    Raises:
        BadInput: a directory above it is closed to that user.
    """
    if account is None:
        return
    layout.root.chmod(layout.root.stat().st_mode & 0o7777 | 0o011)
    bar = barrier(layout.root, account, os.X_OK)
    if bar is not None:
        raise BadInput(
            f"data directory {layout.root} cannot be reached by user {account.name}, who runs Postgres for root: "
            f"{bar} is closed to others; open it (chmod o+x {bar}) or name a directory like /var/lib/hark/postgres"
        )


def check_version(layout: Layout, programs: Programs) -> None:
    """Make sure that the programs can read the cluster.

    Raises:
        BadInput: the cluster was made by another major version of Postgres, or is none.
    """
    try:
        made_by = (layout.cluster / "PG_VERSION").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        raise BadInput(f"{layout.cluster} is not a Postgres cluster; move it away or name another directory") from None
    if made_by != str(programs.major):
        raise BadInput(
            f"the data in {layout.root} was made by Postgres {made_by} and these programs are {programs.major}: name "
            f"another directory, or move the data: pg_dump with Postgres {made_by}, then load it into a new directory"
        )


def make_cluster(
    layout: Layout, programs: Programs, account: Account | None, *, durable: bool, timeout_s: float
) -> None:
    """Run initdb, so that the cluster appears whole or not at all.

    Raises:
        Unreachable: initdb failed.
    """
    for leftover in layout.root.glob(f"{_NEW}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=_NEW, dir=layout.root))
    _give(new, account)
    try:
        _initdb(new, programs, account, durable=durable, timeout_s=timeout_s)
        new.rename(layout.cluster)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    _sync(layout.root)


def make_socket_dir(path: Path, account: Account | None) -> None:
    """Make the directory for the socket, closed to all but the server's user: that is what guards the server.

    Raises:
        Unreachable: somebody else's directory is in its place.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        _give(path, account)
    status = path.lstat()
    owner = os.geteuid() if account is None else account.uid
    if not path.is_dir() or path.is_symlink() or status.st_uid != owner or status.st_mode & 0o077:
        raise Unreachable(f"{path} is in the way: it must be a directory of user {owner} with mode 0700; remove it")
    # No server runs: a leftover lock can name a process that has nothing to do with it, and would stop the next one.
    for name in (SOCKET, f"{SOCKET}.lock"):
        (path / name).unlink(missing_ok=True)


def server_command(layout: Layout, programs: Programs, socket_dir: Path, settings: dict[str, str]) -> list[str]:
    """The server's program and arguments. What keeps it private comes last and wins."""
    quoted = '"' + str(socket_dir).replace('"', '""') + '"'  # the setting is a list of names
    private = {
        "listen_addresses": "",
        "unix_socket_directories": quoted,
        "port": str(PORT),
        "cluster_name": layout.tag,
    }
    options = [part for name, value in {**settings, **private}.items() for part in ("-c", f"{name}={value}")]
    return [str(programs.bin_dir / "postgres"), "-D", str(layout.cluster), *options]


def _make_directory(root: Path) -> None:
    for folder in [folder for folder in reversed(root.parents) if not folder.exists()]:
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            folder.chmod(0o755)  # whatever the umask: the server's user has to pass
    root.mkdir(mode=0o700, exist_ok=True)


def _check_ours(layout: Layout) -> None:
    owner = layout.root.stat().st_uid
    if owner != os.geteuid():
        raise BadInput(
            f"data directory {layout.root} belongs to user {owner} and we are user {os.geteuid()}: "
            "run as that user or name another directory"
        )
    if not os.access(layout.root, os.W_OK | os.X_OK):
        raise BadInput(f"data directory {layout.root} is not writable; chmod u+wx it or name another one")


def _check_nothing_foreign(layout: Layout) -> None:
    if layout.cluster.exists() or layout.users_lock.exists():
        return
    if (layout.root / "PG_VERSION").exists():
        raise BadInput(
            f"{layout.root} is the cluster of another Postgres; name an empty directory, "
            "or set HARK_DATABASE_URL to that server"
        )
    own = {layout.start_lock.name, layout.keeper_lock.name}
    foreign = sorted(path.name for path in layout.root.iterdir() if path.name not in own | _IGNORED)
    if foreign:
        raise BadInput(
            f"data directory {layout.root} is not empty (it has {', '.join(foreign[:3])}) and is not Hark's; "
            "name an empty or a new one"
        )


def _initdb(new: Path, programs: Programs, account: Account | None, *, durable: bool, timeout_s: float) -> None:
    user = run_as(account)
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [str(programs.bin_dir / "initdb"), "-D", str(new), *_initdb_options(programs, durable=durable)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
            cwd="/",
            env=ENVIRONMENT,
            user=user.uid,
            group=user.gid,
            extra_groups=user.groups,
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"initdb in {new.parent} was not done after {timeout_s:g} s") from error
    if done.returncode:
        raise Unreachable(
            f"the embedded Postgres cannot be made in {new.parent}; initdb says:\n{last_lines(done.stdout)}"
        )


def _initdb_options(programs: Programs, *, durable: bool) -> list[str]:
    # Text sorts by code point and lower() knows all of Unicode, on every machine alike.
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    locale = builtin if programs.major >= 17 else ["--locale=C.UTF-8"]
    sync = [] if durable else ["--no-sync"]
    return ["-U", SUPERUSER, "--auth=trust", "-E", "UTF8", "--data-checksums", *locale, *sync]


def _give(path: Path, account: Account | None) -> None:
    if account is not None:
        os.chown(path, account.uid, account.gid)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
