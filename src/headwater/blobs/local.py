"""Blobs in a local folder: finished aside, synced, then put in place in one step."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headwater.blobs.base import expect_key
from headwater.errors import StoreError
from headwater.files import TEMPORARY, aside_of, sync, write_atomic


class LocalBlobs:
    """The files below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str, low: int = 0, high: int | None = None) -> bytes | None:
        path = self.root / expect_key(key)
        try:
            with open(path, "rb") as file:
                file.seek(low)
                return file.read() if high is None else file.read(high - low)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error}).") from error

    def write(self, key: str, data: bytes) -> None:
        write_atomic(self.root / expect_key(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """A finished, synced file aside, put in place by a hard link, which fails if the name is
        taken: so nobody ever reads half of it.
        """
        path = self.root / expect_key(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = aside_of(path)
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(aside, path)
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
        sync(path.parent)
        return True

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / prefix.rpartition("/")[0]
        found = (path for path in folder.rglob("*") if path.is_file())
        keys = sorted(path.relative_to(self.root).as_posix() for path in found)
        aside = (key for key in keys if not key.rpartition("/")[2].startswith(TEMPORARY))
        return (key for key in aside if key.startswith(prefix))

    def remove(self, key: str) -> None:
        (self.root / expect_key(key)).unlink(missing_ok=True)

    def local(self, prefix: str) -> Path:
        return self.root / prefix
