"""Keys: made once, kept as hashes, replaced and revoked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hark.access import keys
from hark.access.keys import COARSE, Caller, NewKey, Refused, Scope, parse_scopes
from hark.errors import BadInput
from tests.world import World

DAY = timedelta(days=1)


async def made(world: World, name: str = "shop", *scopes: Scope, lasts: timedelta | None = None) -> NewKey:
    now = world.clock.now()
    expires_at = None if lasts is None else now + lasts
    return await keys.create(world.database, name, scopes or (Scope.READ,), now, expires_at=expires_at)


async def opened(world: World, written: str) -> Caller | Refused:
    return await keys.authenticate(world.database, written, world.clock.now())


async def test_a_key_opens_what_its_scopes_say(world: World) -> None:
    new = await made(world, "shop", Scope.PUBLISH, Scope.READ, Scope.READ)
    assert await opened(world, new.key) == Caller("shop", frozenset({Scope.PUBLISH, Scope.READ}))


async def test_the_key_itself_is_kept_nowhere(world: World) -> None:
    new = await made(world)
    (row,) = await world.rows("select k.*::text as row from hark.api_key k")
    assert new.key.rpartition("_")[2] not in row.row
    assert new.key not in repr(new)


@pytest.mark.parametrize(
    "spoilt",
    [lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"), lambda key: "", lambda key: key + "\n", str.upper],
)
async def test_what_is_nearly_a_key_does_not_open(world: World, spoilt: object) -> None:
    new = await made(world)
    assert callable(spoilt)
    assert isinstance(await opened(world, spoilt(new.key)), Refused)


async def test_an_unknown_prefix_does_not_open(world: World) -> None:
    assert await opened(world, f"hark_aaaaaaaa_{'x' * 43}") == Refused("no such key")


async def test_a_key_expires(world: World) -> None:
    new = await made(world, lasts=DAY)
    world.clock.advance(DAY - timedelta(seconds=1))
    assert isinstance(await opened(world, new.key), Caller)
    world.clock.advance(timedelta(seconds=1))
    assert await opened(world, new.key) == Refused("the key shop has expired; hark keys rotate shop makes a new one")


async def test_a_replaced_key_opens_for_its_grace(world: World) -> None:
    old = await made(world, "shop", Scope.PUBLISH)
    new = await keys.rotate(world.database, "shop", world.clock.now(), grace=DAY)
    assert await opened(world, old.key) == await opened(world, new.key)
    world.clock.advance(DAY)
    assert isinstance(await opened(world, old.key), Refused)
    assert isinstance(await opened(world, new.key), Caller)


async def test_grace_does_not_outlive_the_key(world: World) -> None:
    old = await made(world, lasts=DAY)
    await keys.rotate(world.database, "shop", world.clock.now(), grace=7 * DAY)
    world.clock.advance(DAY)
    assert isinstance(await opened(world, old.key), Refused)


async def test_revoking_closes_all_keys_of_the_name_for_good(world: World) -> None:
    old = await made(world)
    new = await keys.rotate(world.database, "shop", world.clock.now(), grace=DAY)
    assert await keys.revoke(world.database, "shop", world.clock.now()) == 2
    assert await opened(world, old.key) == await opened(world, new.key) == Refused("the key shop was revoked")
    again = await made(world)
    assert isinstance(await opened(world, again.key), Caller)


async def test_a_rotation_that_fails_leaves_the_old_key(world: World) -> None:
    old = await made(world)
    with pytest.raises(BadInput, match="would never open"):
        await keys.rotate(
            world.database, "shop", world.clock.now(), grace=timedelta(), expires_at=world.clock.now() - DAY
        )
    assert isinstance(await opened(world, old.key), Caller)


async def test_a_name_has_one_key(world: World) -> None:
    await made(world)
    with pytest.raises(BadInput, match="hark keys rotate shop"):
        await made(world)


async def test_use_is_noted_but_not_at_every_call(world: World) -> None:
    new = await made(world)
    first = world.clock.now()
    await opened(world, new.key)
    world.clock.advance(COARSE)
    await opened(world, new.key)
    assert (await keys.listed(world.database))[0].last_used_at == first
    world.clock.advance(timedelta(seconds=1))
    await opened(world, new.key)
    assert (await keys.listed(world.database))[0].last_used_at == world.clock.now()


async def test_lists_say_how_each_key_stands(world: World) -> None:
    await made(world, "a", lasts=DAY)
    await made(world, "b")
    await keys.rotate(world.database, "b", world.clock.now(), grace=DAY)
    await made(world, "c")
    await keys.revoke(world.database, "c", world.clock.now())

    async def standing() -> list[tuple[str, str]]:
        return [(key.name, key.standing(world.clock.now())) for key in await keys.listed(world.database)]

    assert sorted(await standing()) == [("a", "good"), ("b", "good"), ("b", "replaced"), ("c", "revoked")]
    world.clock.advance(DAY)
    assert sorted(await standing()) == [("a", "expired"), ("b", "expired"), ("b", "good"), ("c", "revoked")]


@pytest.mark.parametrize("name", ["", " shop", "a" * 101, "shöp", "a b", "\0"])
async def test_a_bad_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(BadInput, match="no name for a key"):
        await made(world, name)


async def test_a_key_that_is_not_there_is_named_with_the_nearest(world: World) -> None:
    await made(world, "web-shop")
    with pytest.raises(BadInput, match="did you mean web-shop"):
        await keys.revoke(world.database, "webshop", world.clock.now())
    with pytest.raises(BadInput, match="did you mean web-shop"):
        await keys.rotate(world.database, "webshop", world.clock.now(), grace=DAY)


def test_scopes_are_read_all_faults_at_once() -> None:
    assert parse_scopes("publish, read,read") == (Scope.PUBLISH, Scope.READ)
    with pytest.raises(BadInput) as caught:
        parse_scopes("publsh,read,everything")
    assert str(caught.value).splitlines()[0] == '"publsh": no such scope; did you mean publish?'
    assert "everything" in str(caught.value).splitlines()[1]
