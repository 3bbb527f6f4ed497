"""May we tell them, how and how often: `decide` is the one place where that question is answered.

Its precedence, first rule that applies:

    1. inactive          an inactive recipient is told nothing
    2. not_offered       the catalogue does not offer the reason to their user type
    3. malformed         their preference cannot be read, so nothing is presumed of it
    4. never             their frequency for the reason, or else the reason's own, is never
    5. own_channels      they chose channels for the reason
    6. default_channels  their user type's default channels

after which e-mail is left out unless the recipient can and may be reached by it (`Reach`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hark.catalogue import Channel, Frequency, Reason
from hark.postgres.queries import Queries

_SQL = Queries.beside(__file__)

KNOWN_BY_KEY = _SQL["known_by_key"]
KNOWN_IN_RANGE = _SQL["known_in_range"]
RULES_OF_ONE = _SQL["rules_of_one"]
RULES_OF_ANY = _SQL["rules_of_any"]
APPLYING = _SQL["applying"]
DECIDED_AS_ONE = _SQL["decided_as_one"]
DECIDED_AS_ANY = _SQL["decided_as_any"]


class Reach(StrEnum):
    """Whether e-mail can and may reach a recipient: the first thing that stands in its way."""

    OK = "ok"
    NO_ADDRESS = "no_address"
    UNCONFIRMED = "unconfirmed"
    NOT_OPTED_IN = "not_opted_in"
    SUPPRESSED = "suppressed"
    INACTIVE = "inactive"


class Why(StrEnum):
    """The rule that decided."""

    UNKNOWN_RECIPIENT = "unknown_recipient"
    UNKNOWN_TYPE = "unknown_type"
    INACTIVE = "inactive"
    NOT_OFFERED = "not_offered"
    MALFORMED = "malformed"
    NEVER = "never"
    OWN_CHANNELS = "own_channels"
    DEFAULT_CHANNELS = "default_channels"


class Choice(StrEnum):
    """A stored choice that is not a value of its own: there is none, or it cannot be read."""

    DEFAULT = "default"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Standing:
    """What `decide` needs to know of a recipient about one reason: their class."""

    user_type: str
    reach: Reach
    channels: frozenset[Channel] | Choice
    frequency: Frequency | Choice


@dataclass(frozen=True, slots=True)
class Decision:
    """By which channels and how often a recipient is told, and the rule that says so."""

    channels: frozenset[Channel]
    frequency: Frequency
    own_frequency: bool
    why: Why


def decide(reason: Reason, standing: Standing) -> Decision:
    """Whether, how and how often a recipient is told for a reason; pure, see the module for the precedence."""
    own_frequency = isinstance(standing.frequency, Frequency)
    frequency = standing.frequency if isinstance(standing.frequency, Frequency) else reason.frequency
    why = _rule(reason, standing, frequency)
    channels = _channels(reason, standing, why)
    return Decision(channels, frequency, own_frequency, why)


def _rule(reason: Reason, standing: Standing, frequency: Frequency) -> Why:
    if standing.reach is Reach.INACTIVE:
        return Why.INACTIVE
    if standing.user_type not in reason.channels:
        return Why.NOT_OFFERED
    if Choice.MALFORMED in (standing.channels, standing.frequency):
        return Why.MALFORMED
    if frequency is Frequency.NEVER:
        return Why.NEVER
    return Why.DEFAULT_CHANNELS if standing.channels is Choice.DEFAULT else Why.OWN_CHANNELS


def _channels(reason: Reason, standing: Standing, why: Why) -> frozenset[Channel]:
    if why is Why.OWN_CHANNELS and isinstance(standing.channels, frozenset):
        wanted = standing.channels
    elif why is Why.DEFAULT_CHANNELS:
        wanted = frozenset(reason.channels[standing.user_type])
    else:
        return frozenset()
    return wanted if standing.reach is Reach.OK else wanted - {Channel.EMAIL}
