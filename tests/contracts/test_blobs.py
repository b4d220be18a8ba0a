"""Our own stores of blobs keep to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.blobs import Blobs, LocalBlobs, MemoryBlobs
from headwater.errors import StoreError
from headwater.files import TEMPORARY
from headwater.testing import BlobsContract


class TestLocalBlobs(BlobsContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.root = tmp_path

    def make(self) -> Blobs:
        return LocalBlobs(self.root)

    def test_what_a_killed_writer_left_aside_is_not_listed(self) -> None:
        (self.root / f"{TEMPORARY}x").write_bytes(b"half")
        assert list(self.make().list("")) == []

    def test_they_lie_where_they_say(self) -> None:
        blobs = self.make()
        blobs.write("a/b", b"x")
        assert (blobs.local("a/") / "b").read_bytes() == b"x"


class TestMemoryBlobs(BlobsContract):
    def make(self) -> Blobs:
        return MemoryBlobs()

    def test_there_is_no_folder(self) -> None:
        with pytest.raises(StoreError, match="in memory"):
            self.make().local("a/")
