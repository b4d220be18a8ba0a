"""The catalog as a value: whatever happens in whatever order, it does what a plain model of it
does.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from at import catalog_at, put_catalog
from headwater.errors import EditionMissing, StoreError
from headwater.store import MAIN, Catalog, Entry
from shop import after


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


def test_a_damaged_catalog_says_so(tmp_path) -> None:
    put_catalog(tmp_path, chain(1, 2))
    assert catalog_at(tmp_path) == chain(1, 2)
    (tmp_path / "catalog.json").write_text('{"lanes": 3}')
    with pytest.raises(StoreError, match="not a catalog"):
        catalog_at(tmp_path)


def test_a_lost_catalog_is_missed_and_nothing_is_taken_for_leftovers(tmp_path) -> None:
    from shop import Shop, vectors_of

    shop = Shop(tmp_path)
    shop.publish(after(0), [vectors_of([1], [[1, 0]])])
    (tmp_path / "catalog.json").unlink()
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
