"""The seam of online stores, and what those who keep it share. Shapes: N keys asked for, M of them
found, B bytes of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from headwater.errors import StoreError

KEY_BYTES = 8


@dataclass(frozen=True)
class Found:
    """What a store has of N keys: which are there (`found_N`), and the values of those, uint8
    `values_MB` in the order of the keys; [0, 0] where none is.
    """

    values_MB: np.ndarray
    found_N: np.ndarray

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Found:
        """A batch of values, None for a key that is not there. Raises StoreError for values of
        several widths, which are no batch.
        """
        there = [value for value in values if value is not None]
        widths = sorted({len(value) for value in there})
        if len(widths) > 1:
            raise StoreError(
                f"values that are looked up together should have one width. Received: {widths}"
                " bytes."
            )
        flat = np.frombuffer(b"".join(there), np.uint8)
        values_MB = flat.reshape(len(there), widths[0] if widths else 0)
        return cls(values_MB, np.array([value is not None for value in values], bool))


class OnlineStore(Protocol):
    """Holds whole serving copies, each under its name. Made as `Store(folder, **settings)`,
    opened once and used by many threads.
    """

    def __init__(self, folder: Path) -> None: ...

    def load(
        self, name: str, rows: int, width: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Make `rows` records (8-byte big-endian keys, ascending; values of `width` bytes) readable
        as `name`, whole or not at all; a second time is a no-op. Raises StoreError.
        """

    def get(self, names: Sequence[str], keys_N: np.ndarray) -> Found:
        """The value of each key (uint64) in the first of `names` that has it. Names are asked for
        as long as a key is missing. Raises StoreError for a name that is asked and not held, and
        for values of several widths.
        """

    def names(self) -> set[str]:
        """The names that are held."""

    def holds(self, name: str) -> bool: ...

    def keep(self, names: set[str]) -> None:
        """Forget every other name."""

    def close(self) -> None:
        """Free what the store holds open; a second time is a no-op."""


def key_bytes(keys_N: np.ndarray) -> list[bytes]:
    """Keys as they are stored: 8 bytes each, big-endian, so that bytes order as numbers do."""
    flat = np.asarray(keys_N, np.uint64).astype(">u8").tobytes()
    return [flat[low : low + KEY_BYTES] for low in range(0, len(flat), KEY_BYTES)]


def first_of(
    names: Sequence[str],
    keys_N: np.ndarray,
    look_up: Callable[[str, list[bytes]], list[bytes | None]],
) -> Found:
    """`get` for a store that can look up some keys in one copy: each name is asked for what the
    names before it did not have.
    """
    keys = key_bytes(keys_N)
    values: list[bytes | None] = [None] * len(keys)
    missing = list(range(len(keys)))
    for name in names:
        if not missing:
            break
        answers = look_up(name, [keys[place] for place in missing])
        for place, value in zip(missing, answers, strict=True):
            values[place] = value
        missing = [place for place in missing if values[place] is None]
    return Found.of(values)


def not_held(name: str) -> StoreError:
    """The error of a name that a store does not hold."""
    return StoreError(
        f"the online store does not hold {name}. Run the last day again to refill it."
    )
