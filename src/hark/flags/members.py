"""A large set of ids in little memory: their bytes one after the other in the order of their hashes, the hashes, and
where each begins.

An id costs its bytes and twelve more (a million ids of ten characters: 22 MB). A look-up finds the hash by halving, and
then compares the bytes: no id is ever taken for another.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LARGEST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Members:
    """Ids, each once; `in` says whether one is there. `Members.of` makes them."""

    _bytes: bytes
    _begins: array[int]
    _hashes: array[int]

    @classmethod
    def of(cls, ids: Iterable[str]) -> Members:
        """These."""
        return cls.of_bytes({each.encode() for each in ids})

    @classmethod
    def of_bytes(cls, ids: Iterable[bytes]) -> Members:
        """These, in UTF-8, each given once.

        Raises:
            ValueError: all together they have more than 4 GB.
        """
        ordered = sorted(ids, key=hash)
        whole, begins = bytearray(), array("I", [0])
        for each in ordered:
            whole += each
            if len(whole) > _LARGEST:
                raise ValueError("a set of ids has more than 4 GB")
            begins.append(len(whole))
        return cls(bytes(whole), begins, array("q", map(hash, ordered)))

    def __contains__(self, user: object) -> bool:
        if not isinstance(user, str):
            return False
        wanted = user.encode("utf-8", "surrogatepass")
        hashed = hash(wanted)
        place = bisect_left(self._hashes, hashed)
        while place < len(self._hashes) and self._hashes[place] == hashed:
            if self._at(place) == wanted:
                return True
            place += 1
        return False

    def __len__(self) -> int:
        return len(self._hashes)

    def __iter__(self) -> Iterator[str]:
        return (self._at(place).decode() for place in range(len(self)))

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self._bytes) + 4 * len(self._begins) + 8 * len(self._hashes)

    def _at(self, place: int) -> bytes:
        return self._bytes[self._begins[place] : self._begins[place + 1]]


NOBODY = Members.of(())
