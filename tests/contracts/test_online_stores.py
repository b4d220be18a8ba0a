"""Every online store keeps this contract; run it on your own by adding it to STORES."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.errors import StoreError
from headwater.store import LmdbStore, MemoryStore

STORES = [MemoryStore, LmdbStore]


@pytest.fixture(params=STORES, ids=lambda cls: cls.__name__)
def store(request, tmp_path):
    return request.param(tmp_path / "online")


def load(store, name: str, values: dict[int, bytes]) -> None:
    records = [(key.to_bytes(8, "big"), values[key]) for key in sorted(values)]
    store.load(name, len(values), max(map(len, values.values()), default=1), records)


@pytest.mark.parametrize("width", [1, 261, 2000, 9000])
def test_what_goes_in_comes_out(store, width) -> None:
    values = {n * 7**20 % 2**64: bytes([n % 251]) * width for n in range(1, 400)}
    load(store, "one", values)
    assert {key: store.get(["one"], key) for key in values} == values
    assert store.get(["one"], 3) is None


def test_the_first_name_that_has_a_key_answers(store) -> None:
    load(store, "old", {7: b"old", 8: b"only"})
    load(store, "new", {7: b"new"})
    assert (store.get(["new", "old"], 7), store.get(["new", "old"], 8), store.get(["old"], 7)) == (
        b"new",
        b"only",
        b"old",
    )


def test_a_second_load_changes_nothing_and_keep_forgets_the_rest(store) -> None:
    load(store, "one", {7: b"a"})
    load(store, "one", {7: b"b"})
    load(store, "two", {7: b"c"})
    assert store.get(["one"], 7) == b"a"
    store.keep({"two"})
    assert (store.holds("one"), store.holds("two")) == (False, True)
    with pytest.raises(StoreError, match="does not hold one"):
        store.get(["one"], 7)


def test_an_empty_copy_is_a_copy(store) -> None:
    load(store, "none", {})
    assert store.holds("none")
    assert store.get(["none"], 7) is None


def test_many_threads_may_look_up_at_once(store) -> None:
    values = {n: bytes([n]) * 20 for n in range(200)}
    load(store, "one", values)
    with ThreadPoolExecutor(4) as pool:
        assert (
            list(pool.map(lambda key: store.get(["one"], key), list(values) * 4))
            == list(values.values()) * 4
        )


def test_a_file_cut_short_is_an_error_and_no_crash(tmp_path) -> None:
    load(LmdbStore(tmp_path), "one", dict.fromkeys(range(2000), b"x" * 300))
    path = tmp_path / "one.mdb"
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.raises(StoreError, match="cut short"):
        LmdbStore(tmp_path).get(["one"], 1999)
