"""Tombstones: salted hashes of those who were erased, which keep them from coming back."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headwater.blobs import Layout
from headwater.digests import digest_of
from headwater.errors import StoreError
from headwater.files import read_json, write_json
from headwater.ids import mix64

_HINT = np.uint64((1 << 24) - 1)


@dataclass(frozen=True)
class Tombstones:
    """Who was erased: SHA-256 of salt, entity and key. `hints` are 24 bits of another hash, so that
    few keys need the slow one.
    """

    salt: str
    hashes: frozenset[tuple[str, str]]
    hints: frozenset[int]
    pending: bool = False

    @classmethod
    def read(cls, layout: Layout) -> Tombstones:
        """Those of a warehouse; none before the first erasure. Raises StoreError."""
        path = layout.tombstones
        if not path.is_file():
            if proofs := layout.erasures():
                raise StoreError(
                    f"{path}: is gone, and entities were erased here ({proofs[0].parent})."
                    " Restore it from a backup; without it they come back."
                )
            return cls("", frozenset(), frozenset())
        raw = read_json(path)
        try:
            return cls(
                raw["salt"],
                frozenset((entity, value) for entity, value in raw["tombstones"]),
                frozenset(raw["hints"]),
                raw["pending"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path}: not a list of tombstones ({error!r}). Restore it from a backup; without"
                " it the erased come back."
            ) from error

    def write(self, layout: Layout) -> None:
        write_json(
            layout.tombstones,
            {
                "salt": self.salt,
                "tombstones": sorted(map(list, self.hashes)),
                "hints": sorted(self.hints),
                "pending": self.pending,
            },
        )

    @property
    def digest(self) -> str:
        """Of all of them; empty where nobody was erased."""
        return digest_of(sorted(map(list, self.hashes)))[:16] if self.hashes else ""

    def with_keys(self, entity: str, keys: Sequence[int]) -> Tombstones:
        """These and some more, whose erasure is pending."""
        salt = self.salt or secrets.token_hex(16)
        made = replace(self, salt=salt)
        hints = self._hints(np.array(keys, np.uint64), salt)
        return Tombstones(
            salt,
            self.hashes | {(entity, made._hash(entity, key)) for key in keys},
            self.hints | set(hints.tolist()),
            True,
        )

    def matches(self, entity: str, keys_N: np.ndarray) -> np.ndarray:
        """Which of `keys_N` were erased."""
        found = np.zeros(len(keys_N), bool)
        if self.hashes and len(keys_N):
            maybe = np.flatnonzero(
                np.isin(self._hints(keys_N, self.salt), np.array(sorted(self.hints), np.uint64))
            )
            for row in maybe:
                found[row] = (entity, self._hash(entity, int(keys_N[row]))) in self.hashes
        return found

    def _hash(self, entity: str, key: int) -> str:
        return hashlib.sha256(f"{self.salt}|{entity}|{key}".encode()).hexdigest()

    @staticmethod
    def _hints(keys_N: np.ndarray, salt: str) -> np.ndarray:
        return np.asarray(
            mix64(np.asarray(keys_N, np.uint64) ^ np.uint64(int(salt[:16], 16))) & _HINT
        )
