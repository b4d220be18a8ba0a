"""Blobs: named bytes that appear whole or not at all. A seam of six methods.

A key is a relative path with `/` between its parts, such as `catalog/000000000007.json`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from headwater.errors import StoreError


class Blobs(Protocol):
    """A local folder, memory, or an object store."""

    def read(self, key: str, low: int = 0, high: int | None = None) -> bytes | None:
        """The bytes [low, high) of a blob, all of them by default; None where there is none.

        Raises StoreError where it is there and cannot be read.
        """

    def write(self, key: str, data: bytes) -> None:
        """Put a blob in place, whole or not at all; a reader sees the old bytes or the new."""

    def create(self, key: str, data: bytes) -> bool:
        """Put a blob in place if its key is free; False where it is taken, whose bytes then stay.

        Of several writers of one key, just one gets True: this is the one switch of a warehouse.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that begin with `prefix`, in ascending order."""

    def remove(self, key: str) -> None:
        """Forget a blob; one that is not there is no error."""

    def local(self, prefix: str) -> Path:
        """A local folder that holds the blobs below `prefix`, for what maps files.

        Raises StoreError where the store has none.
        """


def expect_key(key: str) -> str:
    """The key, if it stays inside the store. Raises StoreError."""
    if not key or key.startswith("/") or any(part in ("", ".", "..") for part in key.split("/")):
        raise StoreError(
            f"blob {key!r}: a key is a relative path with / between its parts, such as"
            " catalog/000000000001.json."
        )
    return key
