"""OpenFeature: Hark's flags through a client of it, and somebody else's as a gate."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

pytest.importorskip("openfeature", reason="the extra flags is not installed")

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from hark.flags import FlagReader, enrol, turn
from hark.flags.provider import HarkProvider, OpenFeatureGate
from tests.flags.testing import author, flag_of
from tests.world import World

BOB, CY = EvaluationContext("bob"), EvaluationContext("cy")


@pytest.fixture
async def reader(world: World) -> AsyncIterator[FlagReader]:
    """A reader with a client's provider over it; the flag `live` lets bob in."""
    await flag_of(world, beta=["bob"])
    reader = FlagReader(world.database)
    await reader.refresh()
    api.set_provider_and_wait(HarkProvider(reader), "hark")
    yield reader
    api.clear_providers()


async def test_a_client_is_told_whether_and_why(world: World, reader: FlagReader) -> None:
    client = api.get_client("hark")
    assert (client.get_boolean_value("live", False, BOB), client.get_boolean_value("live", True, CY)) == (True, False)
    told = client.get_boolean_details("live", False, BOB)
    assert (told.reason, told.variant) == (Reason.TARGETING_MATCH, "on")
    assert told.flag_metadata == {"version": 2, "because": "segment", "segment": "beta"}
    assert client.get_boolean_details("live", False, CY).reason == Reason.DEFAULT
    await turn(world.database, "live", author(world), on=False)
    await reader.refresh()
    assert client.get_boolean_details("live", False, BOB).reason == Reason.DISABLED


async def test_what_cannot_be_answered_is_the_default_with_its_code(reader: FlagReader) -> None:
    client = api.get_client("hark")
    assert client.get_boolean_details("nope", True, BOB).error_code == ErrorCode.FLAG_NOT_FOUND
    assert client.get_boolean_details("live", True).error_code == ErrorCode.TARGETING_KEY_MISSING
    for told in (
        client.get_string_details("live", "x", BOB),
        client.get_integer_details("live", 1, BOB),
        client.get_float_details("live", 1.0, BOB),
        client.get_object_details("live", {}, BOB),
    ):
        assert told.error_code == ErrorCode.TYPE_MISMATCH


async def test_a_client_hears_of_changes(world: World, reader: FlagReader) -> None:
    heard: list[EventDetails] = []
    api.get_client("hark").add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, heard.append)
    await enrol(world.database, "live", ["cy"], author(world))
    await reader.refresh()
    await reader.refresh()
    assert [each.flags_changed for each in heard] == [["live"]]


async def test_any_client_can_be_a_gate(world: World) -> None:
    def of(flag: InMemoryFlag[bool], context: EvaluationContext) -> object:
        from openfeature.flag_evaluation import FlagResolutionDetails

        return FlagResolutionDetails(context.targeting_key == "bob")

    theirs = {"live": InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=of)}
    api.set_provider_and_wait(InMemoryProvider(theirs), "theirs")  # type: ignore[arg-type]
    client: OpenFeatureClient = api.get_client("theirs")
    gate = OpenFeatureGate(client, "live")
    view = await gate.view()
    assert (view.version, view.lets_in("bob"), view.lets_in("cy")) == (None, True, False)
    async with world.database.transaction() as connection:
        await gate.fence(connection, view)
    await gate.close()
    assert not (await OpenFeatureGate(client, "other").view()).lets_in("bob")
    api.clear_providers()
