"""Reads what people ask for, and tells all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hark.errors import BadInput

T = TypeVar("T")


@dataclass(slots=True)
class Reading:
    """Reads several things and keeps all that is wrong with any, so that it is told at once."""

    faults: list[str] = field(default_factory=list)

    def take(self, read: Callable[[], T]) -> T | None:
        """What `read` gives; None where it refused, which is kept."""
        try:
            return read()
        except BadInput as refusal:
            self.faults.append(str(refusal))
            return None

    async def after(self, check: Awaitable[None]) -> None:
        """What `check` refuses is kept."""
        try:
            await check
        except BadInput as refusal:
            self.faults.append(str(refusal))

    def end(self) -> None:
        """Nothing more is read.

        Raises:
            BadInput: all that was wrong.
        """
        if self.faults:
            raise BadInput("\n".join(self.faults))
