"""Online stores: one vector at a time, quickly. A seam of three methods, with an in-memory twin."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import lmdb
import numpy as np

from headwater.embeddings import Snapshot
from headwater.errors import StoreError

_OPENING = threading.Lock()


class OnlineStore(Protocol):
    """Holds whole snapshots, each under its digest; a reader names the digest, so it never sees two editions at once."""

    def load(self, snapshot: Snapshot) -> None:
        """Make `snapshot` readable, whole or not at all; a second time is a no-op."""

    def get(self, digest: str, key: int) -> np.ndarray | None:
        """The vector, float32 [D], or None for an unknown key. Raises StoreError for an unknown digest."""

    def keep(self, digests: set[str]) -> None:
        """Forget every other snapshot."""


class MemoryStore:
    """The twin for tests and for factories that need no look-ups from other processes."""

    def __init__(self, folder: Path | None = None) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    def load(self, snapshot: Snapshot) -> None:
        self._snapshots[snapshot.digest] = snapshot

    def get(self, digest: str, key: int) -> np.ndarray | None:
        if digest not in self._snapshots:
            raise _unknown(digest)
        snapshot = self._snapshots[digest]
        rows, found = snapshot.find(np.array([key], np.uint64))
        return snapshot.vectors_ND[rows[0]] if found[0] else None

    def keep(self, digests: set[str]) -> None:
        self._snapshots = {digest: kept for digest, kept in self._snapshots.items() if digest in digests}


class LmdbStore:
    """LMDB: one database per snapshot, filled in one transaction. Keys are big-endian, so they are appended in order."""

    MAX_SNAPSHOTS = 1024
    GROWTH = 64 << 20

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _open(self, size: int = 0, readonly: bool = True) -> lmdb.Environment:
        try:
            return lmdb.open(str(self._folder), max_dbs=self.MAX_SNAPSHOTS, map_size=size, readonly=readonly, create=not readonly)
        except lmdb.Error as error:
            raise StoreError(f"{self._folder}: the online store cannot be opened ({error}). Run the last day again to refill it.") from error

    def load(self, snapshot: Snapshot) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        used = sum(file.stat().st_size for file in self._folder.glob("data.mdb"))
        needed = used + 2 * snapshot.vectors_ND.nbytes + 64 * len(snapshot) + self.GROWTH
        with _OPENING, self._open(size=needed, readonly=False) as env, env.begin(write=True) as transaction:
            name = snapshot.digest.encode()
            if transaction.get(name) is not None:
                return
            database = env.open_db(name, txn=transaction)
            keys = snapshot.keys_N.astype(">u8").tobytes()  # a single scalar's tobytes() would fall back to native order
            rows = ((keys[8 * n : 8 * n + 8], vector.tobytes()) for n, vector in enumerate(snapshot.vectors_ND))
            with transaction.cursor(database) as cursor:
                _, added = cursor.putmulti(rows, append=True)
            if added != len(snapshot):
                transaction.abort()
                raise StoreError(f"{self._folder}: {added:,} of {len(snapshot):,} vectors of {snapshot.name} were taken.")

    def get(self, digest: str, key: int) -> np.ndarray | None:
        if not self._folder.is_dir():
            raise _unknown(digest)
        with _OPENING, self._open() as env:  # LMDB may be open once in a process
            try:
                database = env.open_db(digest.encode(), create=False)
            except lmdb.NotFoundError:
                raise _unknown(digest) from None
            with env.begin(db=database) as transaction:
                found = transaction.get(key.to_bytes(8, "big"))
        return None if found is None else np.frombuffer(found, np.float32)

    def keep(self, digests: set[str]) -> None:
        if not self._folder.is_dir():
            return
        size = sum(file.stat().st_size for file in self._folder.glob("data.mdb")) + self.GROWTH
        with _OPENING, self._open(size=size, readonly=False) as env:
            with env.begin() as transaction:
                stored = [name for name, _ in transaction.cursor()]
            for name in stored:
                if name.decode() not in digests:
                    database = env.open_db(name)
                    with env.begin(write=True) as transaction:
                        transaction.drop(database)


def _unknown(digest: str) -> StoreError:
    return StoreError(f"the online store does not hold the snapshot {digest[:12]}. Run the last day again to refill it.")


ONLINE_STORES = {"lmdb": LmdbStore}
