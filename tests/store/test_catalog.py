"""The catalog as a value: whatever happens in whatever order, it does what a plain model of it
does.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from at import catalog_at, put_catalog
from headwater.blobs import Blobs, LocalBlobs
from headwater.blobs.memory import MemoryBlobs
from headwater.errors import EditionMissing, StoreError
from headwater.store import MAIN, Catalog, CatalogStore, Entry
from shop import Shop, after, vectors_of


def entry(n: int, version: str = "") -> Entry:
    return Entry(after(n), f"digest-{n}{version}", f"editions/{n}{version}", "f")


def chain(*days: int) -> Catalog:
    catalog = Catalog()
    for n in days:
        catalog = catalog.published(MAIN, entry(n), go_live=True)
    return catalog


class Model(RuleBasedStateMachine):
    """Days as numbers: `days` of the lane, `withdrawn` next first, the `live` one."""

    def __init__(self) -> None:
        super().__init__()
        self.catalog, self.days, self.withdrawn, self.live = (
            Catalog(),
            list[int](),
            list[int](),
            None,
        )

    @rule(live=st.booleans())
    def publish(self, live: bool) -> None:
        n = (self.days[-1] if self.days else 0) + 1
        self.catalog = self.catalog.published(MAIN, entry(n), live)
        self.days.append(n)
        self.withdrawn = []
        if live:
            self.live = n

    @rule(n=st.integers(0, 12))
    def promote(self, n: int) -> None:
        legal = (n in self.days and (self.live is None or n >= self.live)) or (
            self.withdrawn[:1] == [n]
        )
        if not legal:
            with pytest.raises(StoreError):
                self.catalog.promoted(MAIN, after(n))
            return
        before = self.catalog
        self.catalog = before.promoted(MAIN, after(n))
        if n not in self.days:
            self.days.append(self.withdrawn.pop(0))
            if self.live is not None and before.live.entry.day == before.lane(MAIN).days[-1].day:
                assert (
                    self.catalog.rolled_back(before.live.entry.day) == before
                )  # promote, then rollback: the identity
        self.live = n

    @rule(n=st.one_of(st.none(), st.integers(0, 12)))
    def rollback(self, n: int | None) -> None:
        earlier = [known for known in self.days if self.live is not None and known < self.live]
        target = n if n is not None else (earlier[-1] if earlier else None)
        if self.live is None or target not in self.days or target > self.live:
            with pytest.raises(EditionMissing):
                self.catalog.rolled_back(after(n) if n is not None else None)
            return
        before = self.catalog
        self.catalog = before.rolled_back(after(n) if n is not None else None)
        gone = [known for known in self.days if known > target]
        again = self.catalog
        for known in gone:  # rollback, then promote what was taken back: the identity
            again = again.promoted(MAIN, after(known))
        if gone and gone[-1] == self.live:
            assert again == before
        self.days, self.withdrawn, self.live = (
            [known for known in self.days if known <= target],
            gone + self.withdrawn,
            target,
        )

    @invariant()
    def it_is_what_the_model_is(self) -> None:
        lane = self.catalog.lane(MAIN)
        assert [old.day for old in lane.days] == [after(n) for n in self.days]
        assert [old.day for old in lane.withdrawn] == [after(n) for n in self.withdrawn]
        assert (self.catalog.live.entry.day if self.catalog.live else None) == (
            after(self.live) if self.live is not None else None
        )
        assert Catalog.from_json(json.loads(json.dumps(self.catalog.as_json()))) == self.catalog


Model.TestCase.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)
TestModel = Model.TestCase


def test_a_replayed_live_day_moves_readers_and_an_earlier_one_does_not() -> None:
    catalog = chain(1, 2, 3)
    assert catalog.published(MAIN, entry(3, "b"), go_live=False).live.entry.digest == "digest-3b"
    assert catalog.published(MAIN, entry(2, "b"), go_live=False).live.entry.digest == "digest-3"


def test_a_day_goes_in_order_or_not_at_all() -> None:
    with pytest.raises(StoreError, match="averages remember"):
        chain(1, 3).published(MAIN, entry(2), go_live=False)
    assert [old.day for old in chain(1, 3).slipped_in(MAIN, entry(2)).lane(MAIN).days] == [
        after(1),
        after(2),
        after(3),
    ]


def test_pins_hold_and_let_go() -> None:
    catalog = chain(1, 2, 3).pinned("ads", MAIN, after(1)).rolled_back(after(2))
    assert catalog.pins["ads"].entry == entry(1)
    assert catalog.unpinned("ads").pins == {}
    with pytest.raises(EditionMissing, match="no edition of 2025-01-10"):
        catalog.pinned("ads", MAIN, after(9))
    with pytest.raises(StoreError, match="pinned are: ads"):
        catalog.unpinned("nobody")


def test_what_retention_removed_cannot_go_live() -> None:
    catalog = chain(1, 2, 3).renewed({"editions/2": None}, MAIN)
    with pytest.raises(EditionMissing, match="removed by retention"):
        catalog.rolled_back(after(2))
    assert [old.day for _, old in catalog.mentioned()] == [after(1), after(3)]


def newest(warehouse: Path) -> Path:
    """The file of the newest catalog."""
    return max((warehouse / "catalog").glob("*.json"))


def test_a_damaged_catalog_says_so(tmp_path) -> None:
    put_catalog(tmp_path, chain(1, 2))
    assert catalog_at(tmp_path) == chain(1, 2)
    newest(tmp_path).write_text('{"lanes": 3}')
    with pytest.raises(StoreError, match="not a catalog"):
        catalog_at(tmp_path)


def test_a_lost_catalog_is_missed_and_nothing_is_taken_for_leftovers(tmp_path) -> None:
    shop = Shop(tmp_path)
    shop.publish(after(0), [vectors_of([1], [[1, 0]])])
    shutil.rmtree(tmp_path / "catalog")
    with pytest.raises(StoreError, match="is gone, and editions are there"):
        shop.publish(after(1), [vectors_of([1], [[1, 0]], after(1))])
    assert list(tmp_path.glob("editions/*/*/manifest.json"))


def test_a_rollback_does_not_cross_an_alignment() -> None:
    catalog = chain(1, 2)
    turned = replace(entry(2, "turned"), aligned="x")
    catalog = catalog.published(MAIN, turned, go_live=True).published(MAIN, entry(3), go_live=True)
    assert catalog.rolled_back(after(2)).live.entry == turned
    with pytest.raises(StoreError, match="a space they do not know"):
        catalog.rolled_back(after(1))


# ---- where it is kept ----------------------------------------------------------------------------


@pytest.fixture(params=["local", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return LocalBlobs(tmp_path) if request.param == "local" else MemoryBlobs()


def grown(blobs: Blobs, days: int) -> CatalogStore:
    """A store of `days` catalogs after the empty first: the one numbered n + 1 has n days."""
    store = CatalogStore(blobs)
    store.begin()
    for n in range(1, days + 1):
        store.write(store.read().published(MAIN, entry(n), go_live=True))
    return store


def day_of(catalog: Catalog) -> int:
    """The number of days it has, which are those from the first on."""
    assert [old.day for old in catalog.lane(MAIN).days] == [
        after(n) for n in range(1, catalog.number)
    ]
    return catalog.number - 1


def test_of_two_writers_one_wins_and_the_other_says_so(blobs) -> None:
    store, other = grown(blobs, 2), CatalogStore(blobs)
    mine, theirs = store.read(), other.read()
    assert other.write(theirs.published(MAIN, entry(3, "theirs"), go_live=True)).number == 4
    with pytest.raises(StoreError, match=r"another writer has published meanwhile") as said:
        store.write(mine.published(MAIN, entry(3, "mine"), go_live=True))
    assert "000000000004.json" in str(said.value)
    assert store.read().live.entry == entry(3, "theirs")
    assert store.write(store.read().published(MAIN, entry(4), go_live=True)).number == 5


@pytest.fixture
def writers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_of_four_writers_at_once_just_one_wins_a_hundred_times(blobs, writers) -> None:
    grown(blobs, 0)
    for race in range(1, 101):
        start = threading.Barrier(4)

        def write(writer: int, race: int = race, start: threading.Barrier = start) -> str:
            store = CatalogStore(blobs)
            catalog = store.read().published(MAIN, entry(race, f"by{writer}"), go_live=True)
            start.wait()
            try:
                store.write(catalog)
            except StoreError as error:
                return str(error)
            return "won"

        found = list(writers.map(write, range(4)))
        assert found.count("won") == 1
        assert sum("another writer has published meanwhile" in said for said in found) == 3
        now = CatalogStore(blobs).read()
        assert now.live.entry == entry(race, f"by{found.index('won')}")
        assert day_of(now) == race


@pytest.mark.parametrize("days", [1, 5, 40])
@pytest.mark.parametrize("hint", [None, b"", b"what?", b"1", b"2", b"5", b"20"])
def test_a_hint_that_is_missing_damaged_or_behind_is_no_harm(blobs, days, hint) -> None:
    store = grown(blobs, days)
    blobs.remove("catalog/newest")
    if hint is not None and (not hint.isdigit() or int(hint) <= days + 1):
        blobs.write("catalog/newest", hint)
    assert day_of(store.read()) == days
    assert day_of(store.write(store.read().published(MAIN, entry(days + 1), True))) == days + 1
    assert blobs.read("catalog/newest") == str(days + 2).encode()


@pytest.mark.parametrize("days", [1, 5, 40])
def test_the_newest_catalog_that_is_lost_is_missed(blobs, days) -> None:
    """The one before it must not be taken for the truth: retention would let the newest edition go,
    which it does not name.
    """
    store = grown(blobs, days)
    blobs.remove(f"catalog/{days + 1:012d}.json")
    for use in (store.read, store.begin):
        with pytest.raises(StoreError, match=f"{days + 1:012d}.json: is gone"):
            use()


def numbers(blobs: Blobs) -> list[int]:
    return [int(key[8:20]) for key in blobs.list("catalog/0")]


def test_of_the_catalogs_the_last_32_are_kept(blobs) -> None:
    grown(blobs, 31)
    assert numbers(blobs) == list(range(1, 33))
    grown(blobs, 0)  # nothing to begin
    assert numbers(blobs) == list(range(1, 33))
    store = CatalogStore(blobs)
    store.write(store.read().published(MAIN, entry(32), go_live=True))
    assert numbers(blobs) == list(range(2, 34))


@pytest.mark.parametrize("lingers", [1, 2, 5])
@pytest.mark.parametrize("hint", [None, b"1", b"5"])
def test_what_a_killed_writer_left_of_an_old_number_is_not_read_and_goes(
    blobs, lingers, hint
) -> None:
    store = grown(blobs, 40)
    blobs.write(f"catalog/{lingers:012d}.json", b'{"lanes": {}, "live": null, "pins": {}}')
    if hint is None:
        blobs.remove("catalog/newest")
        assert day_of(store.read()) == 40
    made = store.write(store.read().published(MAIN, entry(41), go_live=True))
    assert day_of(made) == 41
    assert numbers(blobs) == list(range(11, 43))
    blobs.write("catalog/newest", hint or b"")
    assert day_of(store.read()) == 41


class Slow:
    """Blobs of which a key's reading, or creation, is late: something happens before it, once."""

    def __init__(self, blobs: Blobs, method: str, key: str, meanwhile: Callable[[], object]):
        self._blobs, self._late, self._meanwhile = blobs, (method, key), meanwhile

    def __getattr__(self, method: str):
        def call(key: str, *rest):
            if (method, key) == self._late:
                self._late = ("", "")
                self._meanwhile()
            return getattr(self._blobs, method)(key, *rest)

        return call


def publish(blobs: Blobs, count: int) -> None:
    store = CatalogStore(blobs)
    for _ in range(count):
        catalog = store.read()
        store.write(catalog.published(MAIN, entry(catalog.number), go_live=True))


@pytest.mark.parametrize("meanwhile", [1, 31, 32, 33, 100])
def test_a_reader_that_was_told_of_a_catalog_long_ago_finds_the_newest(blobs, meanwhile) -> None:
    grown(blobs, 3)
    slow = Slow(blobs, "read", "catalog/000000000004.json", lambda: publish(blobs, meanwhile))
    assert day_of(CatalogStore(slow).read()) == 3 + meanwhile


@pytest.mark.parametrize("meanwhile", [1, 31, 32, 33, 100])
def test_a_writer_so_slow_that_its_number_was_let_go_is_refused(blobs, meanwhile) -> None:
    store = grown(blobs, 3)
    slow = Slow(blobs, "create", "catalog/000000000005.json", lambda: publish(blobs, meanwhile))
    with pytest.raises(StoreError, match="another writer has published meanwhile"):
        CatalogStore(slow).write(store.read().published(MAIN, entry(4, "late"), go_live=True))
    assert day_of(store.read()) == 3 + meanwhile
    assert "late" not in json.dumps(store.read().as_json())
    assert numbers(blobs) == list(range(max(1, 4 + meanwhile - 31), 5 + meanwhile))


@pytest.mark.parametrize("meanwhile", [1, 5, 30])
def test_who_won_has_won_though_others_went_on_before_it_came_back(blobs, meanwhile) -> None:
    """Others may build upon a catalog as soon as it is there."""
    store = grown(blobs, 3)
    slow = Slow(blobs, "read", "catalog/newest", lambda: publish(blobs, meanwhile))
    late = Slow(slow, "write", "catalog/newest", lambda: publish(blobs, meanwhile))
    made = CatalogStore(late).write(store.read().published(MAIN, entry(4), go_live=True))
    assert day_of(made) == 4
    now = store.read()
    assert day_of(now) >= 4 + meanwhile
    assert entry(4) in now.lane(MAIN).days


def test_readers_go_on_while_catalogs_are_pruned(blobs) -> None:
    grown(blobs, 1)
    over, seen, problems = threading.Event(), list[int](), list[Exception]()

    def read() -> None:
        store = CatalogStore(blobs)
        try:
            while not over.is_set():
                seen.append(day_of(store.read()))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    publish(blobs, 120)
    over.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(set(seen)) > 5
    assert len(numbers(blobs)) == 32


@pytest.mark.parametrize("also", ["catalog/newest", "editions/2025-01-01/a/manifest.json"])
def test_a_lost_catalog_is_refused_where_something_says_that_there_was_one(blobs, also) -> None:
    store = CatalogStore(blobs)
    assert (store.read(), store.read().number) == (Catalog(), 0)  # nothing was written yet
    blobs.write(also, b"7")
    for read in (store.read, store.begin):
        with pytest.raises(StoreError, match="is gone, and editions are there"):
            read()
    assert numbers(blobs) == []
