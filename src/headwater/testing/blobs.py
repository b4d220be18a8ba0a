"""What every store of blobs keeps to."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.blobs import Blobs
from headwater.errors import StoreError

KEY = "catalog/000000000001.json"
RACES, WRITERS = 25, 4


class BlobsContract(ABC):
    """Subclass it with `make`."""

    @abstractmethod
    def make(self) -> Blobs:
        """A store that holds nothing."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        return self.make()

    def test_what_is_written_is_read_back_whole_and_in_ranges(self, blobs: Blobs) -> None:
        blobs.write(KEY, b"0123456789")
        assert blobs.read(KEY) == b"0123456789"
        assert blobs.read(KEY, 3, 5) == b"34"
        assert blobs.read(KEY, 8) == b"89"
        assert blobs.read(KEY, 0, 0) == b""
        assert blobs.read(KEY, 8, 99) == b"89"

    def test_a_blob_that_is_not_there_is_none(self, blobs: Blobs) -> None:
        assert blobs.read(KEY) is None
        blobs.remove(KEY)
        assert list(blobs.list("catalog/")) == []

    def test_empty_and_binary_blobs(self, blobs: Blobs) -> None:
        every_byte = bytes(range(256))
        blobs.write("a", b"")
        blobs.write("b", every_byte)
        assert (blobs.read("a"), blobs.read("b")) == (b"", every_byte)

    def test_a_write_replaces_and_a_removed_blob_is_gone(self, blobs: Blobs) -> None:
        blobs.write(KEY, b"old and longer")
        blobs.write(KEY, b"new")
        assert blobs.read(KEY) == b"new"
        blobs.remove(KEY)
        assert blobs.read(KEY) is None

    def test_a_key_is_created_once(self, blobs: Blobs) -> None:
        assert blobs.create(KEY, b"first")
        assert not blobs.create(KEY, b"second")
        assert blobs.read(KEY) == b"first"
        blobs.write("written", b"first")
        assert not blobs.create("written", b"second")
        assert blobs.read("written") == b"first"

    def test_a_removed_key_may_be_created_again(self, blobs: Blobs) -> None:
        blobs.create(KEY, b"first")
        blobs.remove(KEY)
        assert blobs.create(KEY, b"second")
        assert blobs.read(KEY) == b"second"

    def test_of_racing_writers_one_wins_and_its_bytes_stay(self, blobs: Blobs) -> None:
        for race in range(RACES):
            start = threading.Barrier(WRITERS)
            key = f"race/{race:03d}"

            def create(writer: int, key: str = key, start: threading.Barrier = start) -> bool:
                start.wait()
                return blobs.create(key, f"writer {writer}".encode() * 1000)

            with ThreadPoolExecutor(WRITERS) as pool:
                won = list(pool.map(create, range(WRITERS)))
            assert sum(won) == 1
            assert blobs.read(key) == f"writer {won.index(True)}".encode() * 1000

    def test_keys_are_listed_below_a_prefix_in_order(self, blobs: Blobs) -> None:
        for key in ("b/2", "a/1", "b/10", "bc", "b/x/3"):
            blobs.write(key, b"")
        assert list(blobs.list("b/")) == ["b/10", "b/2", "b/x/3"]
        assert list(blobs.list("b")) == ["b/10", "b/2", "b/x/3", "bc"]
        assert list(blobs.list("")) == ["a/1", "b/10", "b/2", "b/x/3", "bc"]

    @pytest.mark.parametrize("key", ["", "/etc/passwd", "../outside", "a/../../b", "a//b", "a/"])
    def test_a_key_stays_inside(self, blobs: Blobs, key: str) -> None:
        for use in (blobs.read, blobs.remove):
            with pytest.raises(StoreError):
                use(key)
        for put in (blobs.write, blobs.create):
            with pytest.raises(StoreError):
                put(key, b"")
