"""Our own online stores keep the contract, and what is LMDB's alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import StoreError
from headwater.store import LmdbStore, MemoryStore
from headwater.testing import OnlineStoreContract
from headwater.testing.online_stores import get, load


class TestMemoryStore(OnlineStoreContract):
    lasts = False

    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore(folder)


class TestLmdbStore(OnlineStoreContract):
    def make(self, folder: Path) -> LmdbStore:
        return LmdbStore(folder)

    def test_a_file_cut_short_is_an_error_and_no_crash(self, tmp_path) -> None:
        load(LmdbStore(tmp_path), "one", dict.fromkeys(range(2000), b"x" * 300))
        path = tmp_path / "one.mdb"
        path.write_bytes(path.read_bytes()[:40_000])
        with pytest.raises(StoreError, match="cut short"):
            LmdbStore(tmp_path).get(["one"], np.array([1999], np.uint64))

    def test_a_file_is_opened_once_for_all_stores_of_a_process_and_let_go_of_at_the_end(
        self, tmp_path
    ) -> None:
        store = LmdbStore(tmp_path)
        load(store, "one", {7: b"a"})
        get(store, ["one"], [7])
        get(LmdbStore(tmp_path), ["one"], [7])
        mine = [place for place in LmdbStore._open if Path(place[1]).parent == tmp_path]
        assert len(mine) == 1
        store.close()
        assert not [place for place in LmdbStore._open if Path(place[1]).parent == tmp_path]
        assert get(store, ["one"], [7]) == [b"a"]
