"""The behaviours that Open Discussions' own tests describe of settings over HTTP, here.

Theirs stand in `notifications/views_test.py` and `serializers_test.py`: a signed-in user reads and changes their own
settings. Ours: a product's server does for its users, with a key.
"""

from __future__ import annotations

from http import HTTPStatus

import pytest

from hark.catalogue import Frequency
from tests.doors.api.callers import Office

OF_BOB = "/v1/recipients/bob/preferences"
REASONS = ("comment", "mention", "news", "round_up")
FIELDS = {"reason", "title", "chosen", "told_by", "frequency", "why"}


# views_test: *_unauthenticated ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("GET", OF_BOB), ("GET", f"{OF_BOB}/comment"), ("PUT", f"{OF_BOB}/comment")]
)
async def test_settings_are_closed_to_who_has_no_key(office: Office, method: str, path: str) -> None:
    wish = {"frequency": "never"} if method == "PUT" else None
    answer = await office.stranger.call(method, path, wish)
    assert answer.status == HTTPStatus.UNAUTHORIZED
    assert await office.world.rows("select from hark.preference") == []


# views_test: notification_settings_list -------------------------------------------------------------------------------


async def test_who_is_new_has_a_list_of_defaults(office: Office) -> None:
    """Theirs is empty until rows are made. Ours lists every reason, nothing of it chosen."""
    await office.world.know("bob")
    answer = await office.all.get(OF_BOB)
    assert (answer.status, answer.body["recipient"]) == (HTTPStatus.OK, "bob")
    assert [choice["reason"] for choice in answer.body["choices"]] == list(REASONS)
    assert all(choice["chosen"]["frequency"] is None for choice in answer.body["choices"])
    assert [choice["frequency"] for choice in answer.body["choices"]] == ["batched", "immediate", "daily", "weekly"]


async def test_the_list_says_what_was_chosen_and_what_holds(office: Office) -> None:
    await office.world.know("bob")
    await office.all.put(f"{OF_BOB}/comment", {"frequency": "weekly"})
    await office.all.put(f"{OF_BOB}/news", {"frequency": "never"})
    every = (await office.all.get(OF_BOB)).body["choices"]
    assert {choice["reason"]: choice["chosen"]["frequency"] for choice in every} == {
        "comment": "weekly",
        "mention": None,
        "news": "never",
        "round_up": None,
    }
    assert {choice["reason"]: choice["frequency"] for choice in every}["comment"] == "weekly"


# views_test: notification_settings_get --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REASONS)
async def test_the_settings_of_one_reason_are_those_of_the_list(office: Office, name: str) -> None:
    await office.world.know("bob")
    every = (await office.all.get(OF_BOB)).body["choices"]
    one = await office.all.get(f"{OF_BOB}/{name}")
    assert one.status == HTTPStatus.OK
    assert [one.body] == [choice for choice in every if choice["reason"] == name]


# views_test: notification_settings_patch ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REASONS)
@pytest.mark.parametrize("frequency", Frequency)
async def test_a_frequency_is_set_and_answered_and_holds(office: Office, name: str, frequency: Frequency) -> None:
    await office.world.know("bob")
    put = await office.all.put(f"{OF_BOB}/{name}", {"frequency": frequency})
    assert (put.status, put.body["reason"], put.body["chosen"]["frequency"]) == (HTTPStatus.OK, name, frequency)
    assert (await office.all.get(f"{OF_BOB}/{name}")).body == put.body
    assert put.body["why"] == ("never" if frequency is Frequency.NEVER else "default_channels")
    (stored,) = await office.world.rows("select frequencies from hark.preference where recipient_id = 'bob'")
    assert stored.frequencies == {name: frequency}


# serializers_test -----------------------------------------------------------------------------------------------------


async def test_settings_have_these_fields(office: Office) -> None:
    """Theirs: type, frequency, and a channel's name and title. Ours: reason, what was chosen, what holds, and why."""
    await office.world.know("bob")
    choice = (await office.all.get(f"{OF_BOB}/comment")).body
    assert choice.keys() == FIELDS
    assert choice["chosen"] == {"channels": None, "frequency": None, "malformed": False}


async def test_what_is_of_one_channel_is_a_subscription_to_it(office: Office) -> None:
    """Theirs: moderators have a setting of each channel, and its name is a field. Ours: one follows it, or mutes it."""
    await office.world.know("bob")
    await office.world.follow("moderators:physics", "bob")
    followed = await office.all.get("/v1/subscriptions?recipient=bob")
    assert [(each["entity"], each["muted"]) for each in followed.body["items"]] == [("moderators:physics", False)]
