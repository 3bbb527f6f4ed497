"""Answers that many routes give."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A page of a list; `next` gives the following one, as `before` or `after`, until it is null."""

    items: list[T]
    next: int | str | None = Field(default=None, description="Where the next page begins; null: this is the last.")


class Changed(BaseModel):
    """How many changed; what was so already is not counted."""

    changed: int
