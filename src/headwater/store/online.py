"""Online stores: one vector at a time, quickly. A seam of four methods, with an in-memory twin.

A store holds serving copies of *segments*, each under its name and never changed. An edition is
served by the segments it is spread over, so a day's publish loads only the day's delta, and a
reader, who names the segments, never sees two editions at once.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import lmdb
import numpy as np

from headwater.digests import digest_of
from headwater.embeddings.aggregate import find
from headwater.embeddings.snapshot import counted
from headwater.errors import StoreError
from headwater.files import TEMPORARY, sync
from headwater.store.editions import Edition, Part
from headwater.store.segments import Segment

_HEAD = struct.Struct("<iB")  # day last seen, steps
_CHUNK = 65_536


class OnlineStore(Protocol):
    """Holds whole serving copies, each under its name."""

    def load(
        self, name: str, rows: int, width: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        """Make `rows` records (8-byte big-endian keys, ascending; values of `width` bytes) readable
        as `name`, whole or not at all; a second time is a no-op.
        """

    def get(self, names: Sequence[str], key: int) -> bytes | None:
        """The value of `key` in the first of `names` that has it. Raises StoreError for a name that
        is not held.
        """

    def holds(self, name: str) -> bool: ...

    def keep(self, names: set[str]) -> None:
        """Forget every other name."""


class MemoryStore:
    """The twin for tests and for factories that need no look-ups from other processes."""

    def __init__(self, folder: Path | None = None) -> None:
        self._copies: dict[str, dict[bytes, bytes]] = {}

    def load(
        self, name: str, rows: int, width: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        self._copies.setdefault(name, dict(records))

    def get(self, names: Sequence[str], key: int) -> bytes | None:
        for name in names:
            if name not in self._copies:
                raise _unknown(name)
            found = self._copies[name].get(key.to_bytes(8, "big"))
            if found is not None:
                return found
        return None

    def holds(self, name: str) -> bool:
        return name in self._copies

    def keep(self, names: set[str]) -> None:
        self._copies = {name: kept for name, kept in self._copies.items() if name in names}


class LmdbStore:
    """LMDB, one file per segment, written aside and renamed, then only read: no locks, and no pages
    that remember what was deleted.
    """

    _opening = threading.Lock()
    _open: dict[tuple[int, str, int], lmdb.Environment] = {}  # noqa: RUF012 - shared on purpose: LMDB may open a file once in a process

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.mdb"

    def load(
        self, name: str, rows: int, width: int, records: Iterable[tuple[bytes, bytes]]
    ) -> None:
        if self.holds(name):
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        aside = self._folder / f"{TEMPORARY}{name}-{os.getpid()}.mdb"
        aside.unlink(missing_ok=True)
        per_page = (
            max(1, 4000 // (width + 24)) if width < 1900 else 0.5
        )  # larger values lie on overflow pages of their own
        size = int(4096 * (rows / per_page * 1.3 + rows * (width // 4096)) * 1.2) + (4 << 20)
        try:
            with lmdb.open(
                str(aside), subdir=False, lock=False, map_size=size, max_dbs=0, sync=False
            ) as env:
                with env.begin(write=True) as transaction, transaction.cursor() as cursor:
                    _, added = cursor.putmulti(records, append=True)
                if added != rows:
                    raise StoreError(
                        f"{self._folder}: {added:,} of {rows:,} vectors of {name} were taken."
                    )
                env.sync(True)
        except lmdb.Error as error:
            aside.unlink(missing_ok=True)
            raise StoreError(
                f"{self._folder}: the online store cannot be written ({error}). Is the disk full?"
            ) from error
        os.rename(aside, self._path(name))
        sync(self._folder)

    def get(self, names: Sequence[str], key: int) -> bytes | None:
        for name in names:
            with self._environment(name).begin(buffers=False) as transaction:
                found = transaction.get(key.to_bytes(8, "big"))
            if found is not None:
                return bytes(found)
        return None

    def holds(self, name: str) -> bool:
        return self._path(name).is_file()

    def keep(self, names: set[str]) -> None:
        for path in self._folder.glob("*.mdb"):
            if path.stem not in names and not path.name.startswith(TEMPORARY):
                path.unlink()

    def _environment(self, name: str) -> lmdb.Environment:
        path = self._path(name)
        try:
            about = path.stat()
        except FileNotFoundError:
            raise _unknown(name) from None
        place = (os.getpid(), str(path), about.st_ino)
        with self._opening:
            if place not in self._open:
                for stale in [
                    known
                    for known in self._open
                    if known[0] != place[0] or not os.path.exists(known[1])
                ]:
                    self._open.pop(stale)  # closed when the last look-up lets go of it
                try:
                    env = lmdb.open(
                        str(path),
                        subdir=False,
                        lock=False,
                        readonly=True,
                        create=False,
                        max_dbs=0,
                        readahead=False,
                    )
                except lmdb.Error as error:
                    raise StoreError(
                        f"{path}: the online store cannot be opened ({error}). Remove it and run"
                        " the last day again to refill it."
                    ) from error
                if (env.info()["last_pgno"] + 1) * env.stat()["psize"] > about.st_size:
                    env.close()
                    raise StoreError(
                        f"{path}: the file is cut short. Remove it and run the last day again to"
                        " refill it."
                    )
                self._open[place] = env
            return self._open[place]


def copy_name(edition: Edition, segment: Segment) -> str:
    """What a segment's serving copy is called: it depends on how vectors are served, too."""
    policy = digest_of(edition.policy_config.model_dump(mode="json"))[:8]
    return f"{segment.folder.parent.name}-{segment.folder.name}-{edition.encoding.name}-{policy}"


def copies_of(edition: Edition, name: str) -> list[str]:
    """The serving copies that hold a part, newest first."""
    return [copy_name(edition, segment) for segment in reversed(edition.part(name).segments)]


def load_edition(online: OnlineStore, edition: Edition) -> None:
    """Make every part of an edition readable online."""
    for name in edition.snapshots:
        part = edition.part(name)
        for segment in part.segments:
            width = (
                _HEAD.size
                + edition.encoding.encode(
                    np.zeros((1, _served_width(edition, part)), np.float32)
                ).shape[1]
            )
            online.load(
                copy_name(edition, segment), segment.rows, width, _records(edition, segment)
            )


def get_served(online: OnlineStore, edition: Edition, name: str, key: int) -> np.ndarray | None:
    """An entity's served vector, float32 [D], or sequence [steps, D]; None for one that is unknown
    or has expired.
    """
    part = edition.part(name)
    if not find(part.keys, np.array([key], np.uint64))[1][0]:  # the index knows who has expired
        return None
    found = online.get(copies_of(edition, name), key)
    if found is None:
        raise StoreError(
            f"the online store has no vector of a key that the edition {edition.day} knows. Remove"
            " its folder; the last day's run refills it."
        )
    _, steps = _HEAD.unpack_from(found)
    row = edition.encoding.decode(np.frombuffer(found, np.uint8, offset=_HEAD.size)[None, :])[0]
    return (
        row.reshape(-1, part.space.width)[: int(counted(np.array([steps], np.uint8))[0])]
        if edition.policy.sequence
        else row
    )


def _served_width(edition: Edition, part: Part) -> int:
    return part.space.width * (edition.policy.depth if edition.policy.sequence else 1)


def _records(edition: Edition, segment: Segment) -> Iterator[tuple[bytes, bytes]]:
    for low in range(0, segment.rows, _CHUNK):
        high = min(low + _CHUNK, segment.rows)
        states, steps, seen = (
            segment.states(low, high),
            segment.steps(low, high),
            segment.seen(low, high),
        )
        rows = edition.encoding.encode(
            states if edition.policy.sequence else edition.policy.point(states, steps)
        )
        keys = segment.keys_between(low, high).astype(">u8").tobytes()
        heads = np.empty(len(rows), np.dtype([("seen", "<i4"), ("steps", "u1")]))
        heads["seen"], heads["steps"] = seen, steps
        values = np.hstack([heads.view(np.uint8).reshape(len(rows), _HEAD.size), rows])
        width, data = values.shape[1], values.tobytes()
        for n in range(len(rows)):
            yield keys[8 * n : 8 * n + 8], data[width * n : width * (n + 1)]


def _unknown(name: str) -> StoreError:
    return StoreError(
        f"the online store does not hold {name}. Run the last day again to refill it."
    )


ONLINE_STORES = {"lmdb": LmdbStore}
