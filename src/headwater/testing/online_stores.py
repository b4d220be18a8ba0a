"""What every online store keeps to. Shapes: N keys asked for, M found, B bytes of a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import StoreError
from headwater.store.online import OnlineStore


def load(store: OnlineStore, name: str, values: Mapping[int, bytes]) -> None:
    """Values by key, as a store takes them."""
    records = [(key.to_bytes(8, "big"), values[key]) for key in sorted(values)]
    store.load(name, len(values), max(map(len, values.values()), default=1), records)


def get(store: OnlineStore, names: Sequence[str], keys: Sequence[int]) -> list[bytes | None]:
    """What a store answers for a batch, key by key, after a look at its form."""
    found = store.get(names, np.array(keys, np.uint64))
    assert found.found_N.dtype == bool
    assert found.found_N.shape == (len(keys),)
    assert found.values_MB.dtype == np.uint8
    assert found.values_MB.ndim == 2
    assert len(found.values_MB) == found.found_N.sum()
    values = iter(found.values_MB)
    return [next(values).tobytes() if there else None for there in found.found_N]


class OnlineStoreContract(ABC):
    """Subclass it with `make`. A store that is gone with its process says `lasts = False`."""

    lasts = True

    @abstractmethod
    def make(self, folder: Path) -> OnlineStore:
        """A store whose files, if it has any, lie in `folder`, which may not be there yet."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[OnlineStore]:
        store = self.make(tmp_path / "online")
        yield store
        store.close()

    @pytest.mark.parametrize("width", [1, 261, 2000, 9000])
    def test_what_goes_in_comes_out_in_the_order_of_the_keys(
        self, store: OnlineStore, width: int
    ) -> None:
        values = {n * 7**20 % 2**64: bytes([n % 251]) * width for n in range(1, 400)}
        load(store, "one", values)
        asked = [key for pair in zip(values, range(3, 800, 2), strict=False) for key in pair]
        assert get(store, ["one"], asked) == [values.get(key) for key in asked]
        assert [get(store, ["one"], [key]) for key in values] == [[v] for v in values.values()]
        assert get(store, ["one"], [3]) == [None]

    def test_keys_are_of_64_bits(self, store: OnlineStore) -> None:
        values = {0: b"a", 1: b"b", 2**63: b"c", 2**64 - 1: b"d"}
        load(store, "one", values)
        assert get(store, ["one"], list(values)[::-1]) == [b"d", b"c", b"b", b"a"]

    def test_a_key_may_be_asked_for_twice_and_none_at_all(self, store: OnlineStore) -> None:
        load(store, "one", {7: b"a", 8: b"b"})
        assert get(store, ["one"], [8, 7, 8]) == [b"b", b"a", b"b"]
        assert get(store, ["one"], []) == []

    def test_the_first_name_that_has_a_key_answers(self, store: OnlineStore) -> None:
        load(store, "old", {7: b"old", 8: b"its"})
        load(store, "new", {7: b"new"})
        assert get(store, ["new", "old"], [8, 7, 9]) == [b"its", b"new", None]
        assert get(store, ["old"], [7]) == [b"old"]

    def test_it_answers_as_dicts_do(self, store: OnlineStore) -> None:
        """A slow twin: copies of random keys, asked in random orders."""
        generator = np.random.default_rng(0)
        twin = {
            f"copy-{n}": {
                int(key): generator.bytes(6)
                for key in generator.choice(60, generator.integers(0, 40), replace=False)
            }
            for n in range(4)
        }
        for name, values in twin.items():
            load(store, name, values)
        for _ in range(20):
            names = [str(name) for name in generator.permutation(list(twin))]
            keys = generator.integers(0, 70, 30).tolist()
            expected = [
                next((twin[name][key] for name in names if key in twin[name]), None) for key in keys
            ]
            assert get(store, names, keys) == expected

    def test_values_of_two_widths_are_no_batch(self, store: OnlineStore) -> None:
        load(store, "narrow", {7: b"aa"})
        load(store, "wide", {8: b"bbb"})
        with pytest.raises(StoreError, match="one width"):
            store.get(["narrow", "wide"], np.array([7, 8], np.uint64))

    def test_a_second_load_changes_nothing_and_keep_forgets_the_rest(
        self, store: OnlineStore
    ) -> None:
        load(store, "one", {7: b"a"})
        load(store, "one", {7: b"b"})
        load(store, "two", {7: b"c"})
        assert get(store, ["one"], [7]) == [b"a"]
        assert store.names() == {"one", "two"}
        store.keep({"two", "three"})
        assert (store.holds("one"), store.holds("two")) == (False, True)
        assert store.names() == {"two"}
        with pytest.raises(StoreError, match="does not hold one"):
            get(store, ["one"], [7])

    def test_an_empty_copy_is_a_copy(self, store: OnlineStore) -> None:
        assert store.names() == set()
        load(store, "none", {})
        assert store.holds("none")
        assert get(store, ["none"], [7]) == [None]

    def test_a_load_that_breaks_off_leaves_nothing(self, store: OnlineStore) -> None:
        def broken() -> Iterator[tuple[bytes, bytes]]:
            yield (7).to_bytes(8, "big"), b"a"
            raise RuntimeError("the source went away")

        with pytest.raises(RuntimeError, match="went away"):
            store.load("one", 2, 1, broken())
        assert not store.holds("one")
        assert store.names() == set()
        load(store, "one", {7: b"b"})
        assert get(store, ["one"], [7]) == [b"b"]

    def test_many_threads_may_look_up_at_once(self, store: OnlineStore) -> None:
        values = {n: bytes([n]) * 20 for n in range(200)}
        load(store, "one", values)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda key: get(store, ["one"], [key]), list(values) * 4))
        assert answers == [[value] for value in values.values()] * 4

    def test_what_was_loaded_outlives_the_store_that_took_it(self, tmp_path: Path) -> None:
        if not self.lasts:
            pytest.skip("this store says that it is gone with its process")
        first = self.make(tmp_path / "online")
        load(first, "one", {7: b"a"})
        assert get(first, ["one"], [7]) == [b"a"]
        first.close()
        first.close()
        second = self.make(tmp_path / "online")
        assert get(second, ["one"], [7]) == [b"a"]
        second.close()
