"""Serving copies in LMDB files, one a segment."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import lmdb
import numpy as np

from headwater.errors import StoreError
from headwater.files import TEMPORARY, aside_of, sync
from headwater.store.online.base import Found, first_of, not_held


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
        aside = aside_of(self._path(name))
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

    def get(self, names: Sequence[str], keys_N: np.ndarray) -> Found:
        return first_of(names, keys_N, self._look_up)

    def _look_up(self, name: str, keys: list[bytes]) -> list[bytes | None]:
        with self._environment(name).begin(buffers=False) as transaction:
            return [transaction.get(key) for key in keys]

    def names(self) -> set[str]:
        return {path.stem for path in self._paths()}

    def holds(self, name: str) -> bool:
        return self._path(name).is_file()

    def keep(self, names: set[str]) -> None:
        for path in self._paths():
            if path.stem not in names:
                path.unlink()

    def close(self) -> None:
        """Let go of this folder's files; look-ups that are under way keep theirs until they end."""
        with self._opening:
            for place in [known for known in self._open if Path(known[1]).parent == self._folder]:
                self._open.pop(place)

    def _paths(self) -> list[Path]:
        """The files of whole copies."""
        found = self._folder.glob("*.mdb")
        return [path for path in found if not path.name.startswith(TEMPORARY)]

    def _environment(self, name: str) -> lmdb.Environment:
        path = self._path(name)
        try:
            about = path.stat()
        except FileNotFoundError:
            raise not_held(name) from None
        place = (os.getpid(), str(path), about.st_ino)
        with self._opening:
            if place not in self._open:
                self._forget_stale()
                self._open[place] = _opened(path, about.st_size)
            return self._open[place]

    def _forget_stale(self) -> None:
        """Files that are gone, or that a process before a fork had opened: closed when the last
        look-up lets go of them.
        """
        here = os.getpid()
        for known in [k for k in self._open if k[0] != here or not os.path.exists(k[1])]:
            self._open.pop(known)


def _opened(path: Path, size: int) -> lmdb.Environment:
    """A whole copy, to be read. Raises StoreError for one that is damaged or cut short."""
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
    if (env.info()["last_pgno"] + 1) * env.stat()["psize"] > size:
        env.close()
        raise StoreError(
            f"{path}: the file is cut short. Remove it and run the last day again to refill it."
        )
    return env
