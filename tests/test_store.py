"""Editions: whole or not at all, never changed behind a reader's back, never seen too early."""

from __future__ import annotations

import datetime as dt
import pickle

import numpy as np
import pytest

from headwater.errors import EditionConflict, EditionMissing, LeakError, StoreError
from headwater.files import new_folder, sweep_leftovers
from headwater.store import EditionStore
from headwater.store.buckets import bucket_of, read_snapshot, write_snapshot
from test_embeddings import D0, after, snap


def spread(n: int, seed: int = 0) -> dict[int, list[float]]:
    generator = np.random.default_rng(seed)
    keys = generator.integers(1, 2**62, n).tolist()
    return dict(zip(keys, generator.standard_normal((n, 2)).tolist(), strict=True))


@pytest.mark.parametrize("buckets", [1, 8])
def test_a_snapshot_comes_back_as_it_was_written(tmp_path, buckets) -> None:
    before = snap(spread(100))
    write_snapshot(tmp_path / "s", before, buckets)
    back = read_snapshot(tmp_path / "s", before.space, "user", D0, buckets)
    assert back.digest == before.digest
    assert back.ids.to_list() == before.ids.to_list()


def test_buckets_in_order_are_keys_in_order() -> None:
    keys = np.sort(np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64))
    homes = bucket_of(keys, 16)
    assert (np.diff(homes) >= 0).all()
    assert set(homes) == set(range(16))


def test_publishing_again_is_a_no_op_and_a_change_is_a_conflict(tmp_path) -> None:
    store = EditionStore(tmp_path)
    one = store.publish(D0, [snap(spread(10))], "inputs", {"kind": "latest"}, 2)
    (tmp_path / "editions" / f".tmp-{after(3)}-9" / "ctr_user").mkdir(parents=True)  # a writer at work, or killed
    (tmp_path / "editions" / f".tmp-{after(3)}-9" / "manifest.json").write_text("{}")
    assert store.days() == [D0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "editions").rglob("*")}
    again = store.publish(D0, [snap(spread(10))], "inputs", {"kind": "latest"}, 2)
    assert again.digest == one.digest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "editions").rglob("*")} == stamps
    with pytest.raises(EditionConflict, match="other inputs"):
        store.publish(D0, [snap(spread(10, 1))], "others", {"kind": "latest"}, 2)
    assert store.get(D0).digest == one.digest
    assert store.publish(D0, [snap(spread(10, 1))], "others", {"kind": "latest"}, 2, replace=True).digest != one.digest


def test_a_write_that_fails_leaves_nothing(tmp_path) -> None:
    def write_half() -> None:
        with new_folder(tmp_path / "edition") as aside:
            (aside / "part").write_text("half")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write_half()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".tmp-edition-1").mkdir()  # what a killed writer leaves
    assert sweep_leftovers(tmp_path) == 1


def test_a_view_serves_what_it_has_and_flags_what_it_has_not(tmp_path) -> None:
    store = EditionStore(tmp_path)
    vectors = spread(50)
    store.publish(D0, [snap(vectors)], "f", {}, 8)
    view = pickle.loads(pickle.dumps(store.as_of(after(2))))
    known, unknown = next(iter(vectors)), 5
    served = view.read("ctr_user", np.array([unknown, known], np.uint64), rows_of=after(3))
    assert served.found_N.tolist() == [False, True]
    np.testing.assert_allclose(served.vectors_ND, [[0, 0], vectors[known]], rtol=1e-6)
    assert served.age_days_N.tolist() == [0, 3]


def test_a_view_cannot_see_a_later_day(tmp_path) -> None:
    store = EditionStore(tmp_path)
    store.publish(after(1), [snap(spread(5), after(1))], "f", {}, 1)
    assert store.as_of(D0).edition is None
    assert store.as_of(D0).read("ctr_user", np.zeros(1, np.uint64), after(1)) is None
    with pytest.raises(LeakError, match="may not read what was published"):
        store.as_of(after(1)).read("ctr_user", np.zeros(1, np.uint64), rows_of=after(1))
    assert not [name for name in dir(store.as_of(D0)) if name in ("live", "days", "latest", "as_of")]


def test_errors_say_what_is_there(tmp_path) -> None:
    store = EditionStore(tmp_path)
    with pytest.raises(EditionMissing, match="none yet"):
        store.get(D0)
    store.publish(D0, [snap(spread(5))], "f", {}, 1)
    with pytest.raises(EditionMissing, match=f"There are 1, {D0}"):
        store.get(after(5))
    with pytest.raises(StoreError, match="holds no snapshot 'cvr_user'"):
        store.get(D0).read("cvr_user")
    (tmp_path / "editions" / str(D0) / "ctr_user" / "0000.vectors.npy").write_bytes(b"")
    with pytest.raises(StoreError, match="damaged"):
        store.get(D0).read("ctr_user")
    with pytest.raises(StoreError, match="is of 2025"):
        store.publish(dt.date(2024, 1, 1), [snap(spread(5))], "f", {}, 1)
