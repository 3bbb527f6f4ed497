"""What the tests of flags share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hark.flags import Author, Changed, FlagReader, Named, Rule, create, set_segment
from hark.flags.deciding import Decision
from hark.lists import FileReach
from tests.world import World

HERE = FileReach(local=True)


def author(world: World, *, who: str = "olga", if_version: int | None = None) -> Author:
    """Somebody who changes something at the virtual time."""
    return Author(who, world.clock.now(), if_version)


async def flag_of(world: World, name: str = "live", **segments: Rule | Sequence[str]) -> Changed:
    """A flag with these segments."""
    changed = await create(world.database, name, author(world))
    for segment, given in segments.items():
        rule = Named(given) if isinstance(given, list) else given
        assert isinstance(rule, Rule)
        changed = await set_segment(world.database, name, segment, rule, author(world), reach=HERE)
    return changed


async def decided(world: World, user: str, flag: str = "live") -> Decision:
    """What a process that has just read the flags says of a user."""
    return (await FlagReader(world.database).refresh()).decide(flag, user)


async def let_in(world: World, users: Sequence[str], flag: str = "live") -> list[str]:
    """Whom of these a flag lets in, as a process that has just read it says."""
    snapshot = await FlagReader(world.database).refresh()
    return [user for user in users if snapshot.decide(flag, user).lets_in]


def written(folder: Path, text: str | bytes, name: str = "list") -> str:
    """A file's path."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)
