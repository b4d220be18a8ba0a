"""The in-memory twin, for tests: another process sees nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from headwater.store.online.base import Found, first_of, not_held


class MemoryStore:
    """Serving copies as dicts; gone with the process."""

    def __init__(self, folder: Path | None = None) -> None:
        self._copies: dict[str, dict[bytes, bytes]] = {}

    def load(
        self, name: str, rows: int, width: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        if not self.holds(name):
            self._copies[name] = dict(records)

    def get(self, names: Sequence[str], keys_N: np.ndarray) -> Found:
        return first_of(names, keys_N, self._look_up)

    def _look_up(self, name: str, keys: list[bytes]) -> list[bytes | None]:
        copy = self._copies.get(name)
        if copy is None:
            raise not_held(name)
        return [copy.get(key) for key in keys]

    def names(self) -> set[str]:
        return set(self._copies)

    def holds(self, name: str) -> bool:
        return name in self._copies

    def keep(self, names: set[str]) -> None:
        self._copies = {name: kept for name, kept in self._copies.items() if name in names}

    def close(self) -> None:
        """Nothing is held open."""
