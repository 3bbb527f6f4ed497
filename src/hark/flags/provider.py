"""OpenFeature, both ways: Hark's flags for whoever asks by an OpenFeature client, and a gate that asks such a client.

Needs the extra `flags`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import FlagNotFoundError, TargetingKeyMissingError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata
from psycopg import AsyncConnection

from hark.flags.deciding import Because, Decision
from hark.flags.gate import View
from hark.flags.reading import FlagReader

_REASONS: Mapping[Because, Reason] = {
    Because.OFF: Reason.DISABLED,
    Because.ENROLLED: Reason.TARGETING_MATCH,
    Because.SEGMENT: Reason.TARGETING_MATCH,
    Because.NOBODY_SAYS_SO: Reason.DEFAULT,
}


class HarkProvider(AbstractProvider):
    """Answers from what a reader knows, without asking anybody; whoever owns the reader refreshes it.

    The targeting key is the user's id. All flags are boolean. What a client is told beside the value: the reason, the
    variant (`on`, `off`), and as metadata the flag's `version` and the `segment` that lets the user in.
    """

    def __init__(self, reader: FlagReader) -> None:
        super().__init__()
        self._reader = reader
        reader.listen(self._changed)

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata("hark")

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether a flag lets a user in.

        Raises:
            TargetingKeyMissingError: the context names no user.
            FlagNotFoundError: there is no such flag.
        """
        user = evaluation_context.targeting_key if evaluation_context else None
        if not user:
            raise TargetingKeyMissingError("a flag is asked about a user: give their id as the targeting key")
        decision = self._reader.snapshot.decide(flag_key, user)
        if decision.because is Because.NO_FLAG:
            raise FlagNotFoundError(f"there is no flag {flag_key}")
        return _details(decision)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Never."""
        _refuse(flag_key)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Never."""
        _refuse(flag_key)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Never."""
        _refuse(flag_key)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Never."""
        _refuse(flag_key)

    def _changed(self, flags: Sequence[str]) -> None:
        self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=list(flags)))


@dataclass(frozen=True, slots=True)
class ClientView:
    """What an OpenFeature client says. It has no versions, and may say something else from one user to the next."""

    client: OpenFeatureClient
    flag: str
    version: None = None

    def lets_in(self, user: str) -> bool:
        """Whether a user is let in; not, if the client's provider fails."""
        return self.client.get_boolean_value(self.flag, False, EvaluationContext(targeting_key=user))


@dataclass(frozen=True, slots=True)
class OpenFeatureGate:
    """A gate that goes by a flag of somebody else's, through any OpenFeature client.

    Nobody can know when a change of such a flag is effective everywhere: whoever loads by it must wait for longer than
    its provider can be behind, and `wait_until_effective` knows nothing of it.
    """

    client: OpenFeatureClient
    flag: str

    async def view(self) -> ClientView:
        """What the client says."""
        return ClientView(self.client, self.flag)

    async def fence(self, connection: AsyncConnection[Any], view: View) -> None:
        """There is no version to hold to."""

    async def close(self) -> None:
        """There is nothing to close; the client is its owner's."""


def _details(decision: Decision) -> FlagResolutionDetails[bool]:
    told: dict[str, bool | str | int | float] = {"version": decision.version, "because": decision.because.value}
    if decision.segment is not None:
        told["segment"] = decision.segment
    return FlagResolutionDetails(
        decision.lets_in,
        reason=_REASONS[decision.because],
        variant="on" if decision.lets_in else "off",
        flag_metadata=told,
    )


def _refuse(flag: str) -> NoReturn:
    raise TypeMismatchError(f"{flag} is a flag, and says yes or no; ask for a boolean")
