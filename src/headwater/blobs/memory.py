"""The twin in memory, for tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from headwater.blobs.base import expect_key
from headwater.errors import StoreError


class MemoryBlobs:
    """Holds its blobs as long as the process lives."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def read(self, key: str, low: int = 0, high: int | None = None) -> bytes | None:
        found = self._held.get(expect_key(key))
        return None if found is None else found[low:high]

    def write(self, key: str, data: bytes) -> None:
        self._held[expect_key(key)] = bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if expect_key(key) in self._held:
                return False
            self._held[key] = bytes(data)
            return True

    def list(self, prefix: str) -> Iterator[str]:
        return iter(sorted(key for key in self._held if key.startswith(prefix)))

    def remove(self, key: str) -> None:
        self._held.pop(expect_key(key), None)

    def local(self, prefix: str) -> Path:
        raise StoreError(
            f"blobs below {prefix!r} are in memory; there is no folder that holds them."
        )
