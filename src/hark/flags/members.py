"""A large set of ids in little memory: their bytes one after the other, in order, and where each begins.

An id costs its bytes and four more (a million ids of ten characters: 14 MB), a look-up about twenty comparisons.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LARGEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Members:
    """Ids, each once; `in` says whether one is there. `Members.of` and `Members.in_order` make them."""

    _bytes: bytes
    _begins: array[int]

    @classmethod
    def of(cls, ids: Iterable[str]) -> Members:
        """These, in whatever order."""
        return cls.in_order(sorted({each.encode() for each in ids}))

    @classmethod
    def in_order(cls, ids: Iterable[bytes]) -> Members:
        """These in UTF-8, which come in the order of their bytes, each once.

        Raises:
            ValueError: all together they have more than 4 GB.
        """
        whole, begins = bytearray(), array("L" if array("I").itemsize < 4 else "I")
        for each in ids:
            begins.append(len(whole))
            whole += each
            if len(whole) > _LARGEST:
                raise ValueError("a set of ids has more than 4 GB")
        begins.append(len(whole))
        return cls(bytes(whole), begins)

    def __contains__(self, user: object) -> bool:
        if not isinstance(user, str):
            return False
        wanted = user.encode("utf-8", "surrogatepass")
        place = bisect_left(range(len(self)), wanted, key=self._at)
        return place < len(self) and self._at(place) == wanted

    def __len__(self) -> int:
        return len(self._begins) - 1

    def __iter__(self) -> Iterator[str]:
        return (self._at(place).decode() for place in range(len(self)))

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self._bytes) + len(self._begins) * self._begins.itemsize

    def _at(self, place: int) -> bytes:
        return self._bytes[self._begins[place] : self._begins[place + 1]]


NOBODY = Members.of(())
