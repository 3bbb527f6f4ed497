"""Who asked to hear of what: subscriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Body as Sent
from fastapi import Query
from pydantic import Field

from hark import audience
from hark.access.audit import Act
from hark.access.keys import Scope
from hark.audience import KnownSubscription, Subscription
from hark.doors.api.door import Visit, Visiting, guarded
from hark.doors.api.fields import AT_ONCE, After, Body, Flag, Limit, Name
from hark.doors.api.pages import Changed, Page
from hark.postgres.database import Database

router = guarded(Scope.SUBSCRIBE, "who and what")
reading = guarded(Scope.READ, "who and what")

_PAIR = {"recipient": "bob", "entity": "post:7"}


class Pair(Body):
    """A recipient and an entity."""

    recipient: Name = Field(description="The recipient's id.")
    entity: Name = Field(description="What they want to hear of, as post:7.")


class Wish(Pair):
    """A pair to follow; or, where `muted` is given, one to mute or unmute, whether it is followed or not."""

    muted: Flag | None = Field(
        default=None,
        description="true: be silent about it, and follow it no more or less than before; false: let it speak again. "
        "Left out: follow it; what is muted stays so.",
    )


class Wishes(Body):
    """Pairs to subscribe, mute or unmute."""

    subscriptions: list[Wish] = Field(min_length=1, max_length=AT_ONCE, description="Pairs: to follow, mute, unmute.")


class Pairs(Body):
    """Pairs to unsubscribe."""

    subscriptions: list[Pair] = Field(min_length=1, max_length=AT_ONCE, description="Pairs.")


class Whose(Body):
    """Whose subscriptions to list."""

    recipient: Name = Field(description="The recipient's id.")
    after: After = ""
    limit: Limit = 100


@router.put("/v1/subscriptions")
async def subscribe(
    visit: Visiting, wishes: Annotated[Wishes, Sent(examples=[{"subscriptions": [_PAIR, {**_PAIR, "muted": True}]}])]
) -> Changed:
    """Subscribe pairs, mute or unmute them: up to 1,000, all or none.

    Each wish does one thing: without `muted` it subscribes, with it it mutes or unmutes. To follow and mute at once,
    send the pair twice.
    """
    async with visit.database.as_one() as one:
        changed = await audience.subscribe(one, _of(wishes, None), visit.now())
        for muted in (True, False):
            changed += await audience.mute(one, _of(wishes, muted), visit.now(), muted=muted)
        await _note(visit, one, Act.SUBSCRIBE, wishes.subscriptions, changed)
    return Changed(changed=changed)


@router.delete("/v1/subscriptions")
async def unsubscribe(visit: Visiting, pairs: Annotated[Pairs, Sent(examples=[{"subscriptions": [_PAIR]}])]) -> Changed:
    """Remove pairs: up to 1,000, all or none. What is not there is not missed."""
    async with visit.database.as_one() as one:
        changed = await audience.unsubscribe(one, _pairs(pairs.subscriptions))
        await _note(visit, one, Act.UNSUBSCRIBE, pairs.subscriptions, changed)
    return Changed(changed=changed)


@reading.get("/v1/subscriptions")
async def subscriptions(visit: Visiting, whose: Annotated[Whose, Query()]) -> Page[KnownSubscription]:
    """List what a recipient follows or muted: `followed` says whether it will speak again once it is unmuted."""
    page = await audience.subscriptions_of(visit.database, whose.recipient, whose.after, limit=whose.limit)
    return Page(items=page, next=page[-1].entity if len(page) == whose.limit else None)


def _of(wishes: Wishes, muted: bool | None) -> list[Subscription]:
    return _pairs([wish for wish in wishes.subscriptions if wish.muted is muted])


def _pairs(wishes: Sequence[Pair]) -> list[Subscription]:
    return [Subscription(wish.recipient, wish.entity) for wish in wishes]


async def _note(visit: Visit, database: Database, what: Act, pairs: Sequence[Pair], changed: int) -> None:
    if len(pairs) == 1:
        await visit.note(
            database, what, f"recipient:{pairs[0].recipient}", {"entity": pairs[0].entity, "changed": changed}
        )
    else:
        await visit.note(database, what, f"{len(pairs)} subscriptions", {"changed": changed})
