"""Going live, coming back, growing old: what readers see, and what is left on disk."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from at import catalog_at, catalog_bytes, edition_at
from headwater.config import parse_policy
from headwater.errors import ConfigError, EditionMissing, LeakError, SpaceMismatch, StoreError
from headwater.files import new_folder, sweep_leftovers
from headwater.ids import key_of
from headwater.lifecycle import (
    compact_where_due,
    pin,
    promote,
    rebuild,
    retire,
    rollback,
    switch,
    unpin,
)
from headwater.models.upstream import Needs
from headwater.pipeline.run import Run
from headwater.pipeline.tidy import days_to_keep
from headwater.serving import reader
from headwater.serving.answers import Lookup
from headwater.serving.reader import Reader
from headwater.store import MAIN, Edition, EditionView, Provenance, compose, point_in_time
from headwater.store.reports import DayReport, write_copies
from shop import D0, Shop, after, space_of, vectors_of

IDS = [f"u{n}" for n in range(30)]
ITEMS = [f"i{n}" for n in range(12)]


def day_of(shop: Shop, n: int, value: float | None = None, **options):
    """Publish a day on which everyone's vector says which day it is."""
    vector = [float(n + 1 if value is None else value), 1.0]
    users = vectors_of(IDS, [vector] * len(IDS), after(n))
    return shop.publish(
        after(n), [users, vectors_of(ITEMS, [vector] * len(ITEMS), after(n), "item")], **options
    )


def seen_by(reader: Reader) -> float:
    return reader.lookup("user", ["u3"]).vectors["u3"]["ctr_user"][0]


def test_rollback_takes_readers_and_averages_back(tmp_path) -> None:
    shop, straight = (
        Shop(tmp_path / name, {"kind": "ema", "weight": 0.5}) for name in ("shop", "straight")
    )
    for n in range(3):
        day_of(shop, n)
        if n < 2:
            day_of(straight, n)
    day_of(shop, 3, value=1000)  # a bad day
    assert seen_by(shop.reader) > 100
    rollback(shop.workspace, after(1))
    assert seen_by(shop.reader) == 1.5
    assert shop.reader.similar("item", "i1").edition == after(1)
    day_of(shop, 2, value=7)
    day_of(straight, 2, value=7)
    assert (
        seen_by(shop.reader) == seen_by(straight.reader) == 4.25
    )  # continues from day 1, as if the bad days had never been
    assert shop.live.digest == straight.live.digest


def test_promote_then_rollback_leaves_every_byte_of_the_catalog_and_every_answer(tmp_path) -> None:
    shop = Shop(tmp_path)
    for n in range(3):
        day_of(shop, n)
    rollback(shop.workspace, after(1))
    before, answer = catalog_bytes(tmp_path), shop.reader.retrieve("u3", 4)
    promote(shop.workspace, MAIN, after(2))
    assert seen_by(shop.reader) != answer
    rollback(shop.workspace, None)
    assert catalog_bytes(tmp_path) == before
    assert shop.reader.retrieve("u3", 4) == answer


def test_manual_promotion_leaves_readers_where_they_are(tmp_path) -> None:
    shop = Shop(tmp_path)
    day_of(shop, 0)
    day_of(shop, 1, live=False)
    assert shop.live.day == D0
    promote(shop.workspace, MAIN, after(1))
    assert shop.live.day == after(1)
    with pytest.raises(StoreError, match=r"headwater rollback --to 2025-01-01"):
        promote(shop.workspace, MAIN, D0)


def test_a_pinned_consumer_stays_while_others_move_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("headwater.lifecycle.retention.MARGIN_DAYS", -1)
    shop = Shop(tmp_path, {"kind": "latest"}, {"compact_after": 2}, keep_days=3)
    day_of(shop, 0)
    pin(shop.workspace, "ads", MAIN, D0)
    for n in range(1, 6):
        day_of(shop, n)
    assert seen_by(Reader(shop.workspace, consumer="ads")) == 1
    assert Reader(shop.workspace, consumer="ads").similar("item", "i1").edition == D0
    assert seen_by(Reader(shop.workspace, consumer="others")) == 6
    unpin(shop.workspace, "ads")
    assert seen_by(Reader(shop.workspace, consumer="ads")) == 6


def test_retention_keeps_the_window_what_is_live_and_what_is_pinned(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("headwater.lifecycle.retention.MARGIN_DAYS", -1)
    shop = Shop(tmp_path, store={"compact_after": 2}, keep_days=3)
    for n in range(4):
        day_of(shop, n)
    pin(shop.workspace, "ads", MAIN, after(1))
    for n in range(4, 9):
        day_of(shop, n)
    chain = catalog_at(tmp_path).lane(MAIN).days
    assert [entry.day for entry in chain if entry.folder is not None] == [
        after(n) for n in (1, 6, 7, 8)
    ]
    kept = {entry.folder for _, entry in catalog_at(tmp_path).mentioned()}
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "editions").glob("*/*")} == kept
    assert {path.parent.name for path in (tmp_path / "daily").glob("*/*")} == {
        str(after(n)) for n in (1, 6, 7, 8)
    }
    needed = {
        tmp_path / "segments" / name / segment
        for _, entry in catalog_at(tmp_path).mentioned()
        for name, found in edition_at(tmp_path, entry).snapshots.items()
        for segment in found["segments"]
    }
    assert set((tmp_path / "segments").glob("*/*")) == needed
    with pytest.raises(EditionMissing, match="removed by retention"):
        rollback(shop.workspace, after(3))


def test_compaction_changes_no_answer(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "last", "k": 3}, {"bucket_rows": 4})
    generator = np.random.default_rng(0)
    for n in range(5):
        some = sorted(generator.choice(60, 25, replace=False).tolist())
        shop.publish(
            after(n),
            [vectors_of([f"u{k}" for k in some], generator.standard_normal((25, 2)), after(n))],
        )
    before = shop.live
    answers = {f"u{k}": shop.vector(before, f"u{k}") for k in range(60)}
    looked_up = shop.reader.lookup(
        "user", [value for value, found in answers.items() if found is not None]
    )
    assert len(before.part("ctr_user").segments) == 5
    assert compact_where_due(shop.workspace, MAIN, always=True) == ["ctr_user"]
    retire(shop.workspace)
    assert len(shop.live.part("ctr_user").segments) == 1
    assert (shop.live.digest, shop.live.part("ctr_user").digest) == (
        before.digest,
        before.part("ctr_user").digest,
    )
    for value, found in answers.items():
        np.testing.assert_array_equal(shop.vector(shop.live, value), found)
    assert shop.reader.lookup("user", list(looked_up.vectors)) == looked_up


def test_a_days_publish_writes_what_is_fresh_and_not_everything(tmp_path) -> None:
    shop = Shop(tmp_path, store={"online": "none"})
    shop.publish(
        D0,
        [vectors_of(list(range(20_000)), np.random.default_rng(0).standard_normal((20_000, 16)))],
    )
    shop.publish(after(1), [vectors_of(list(range(500)), np.ones((500, 16)), after(1))])
    delta = shop.live.part("ctr_user").segments[-1]
    assert delta.rows == 500
    assert sum(file.stat().st_size for file in delta.folder.iterdir()) < 60_000
    assert shop.live.part("ctr_user").rows == 20_000


@pytest.mark.parametrize(("encoding", "worst"), [("float32", 0), ("float16", 1e-3), ("int8", 1e-2)])
def test_what_is_served_is_quantised_after_averaging_and_alike_everywhere(
    tmp_path, encoding, worst
) -> None:
    shop = Shop(tmp_path, {"kind": "ema", "weight": 0.5}, {"encoding": encoding})
    exact = Shop(tmp_path / "exact", {"kind": "ema", "weight": 0.5})
    vectors = np.random.default_rng(0).standard_normal((4, 30, 8))
    for n in range(4):
        for one in (shop, exact):
            one.publish(after(n), [vectors_of(IDS, vectors[n], after(n))])
    np.testing.assert_array_equal(
        shop.live.read("ctr_user").vectors_ND, exact.live.read("ctr_user").vectors_ND
    )  # averages stay float32
    for value in IDS:
        served, true = shop.vector(shop.live, value), exact.vector(exact.live, value)
        assert (
            shop.reader.lookup("user", [value]).vectors[value]["ctr_user"] == served.tolist()
        )  # training and serving read the same bits
        np.testing.assert_allclose(served, true, atol=worst * np.abs(true).max())


def test_rebuilding_from_daily_snapshots_gives_the_published_editions_digest_for_digest(
    tmp_path,
) -> None:
    shop = Shop(
        tmp_path / "w", {"kind": "ema", "weight": 0.7, "warm_up_days": 1}, {"compact_after": 2}
    )
    generator = np.random.default_rng(1)
    for n in (0, 1, 3, 4, 5):
        some = sorted(generator.choice(40, 20, replace=False).tolist())
        shop.publish(after(n), [vectors_of(some, generator.standard_normal((20, 2)), after(n))])
    days = rebuild(shop.workspace, tmp_path / "again")
    assert [found.edition for found in days] == [found.published for found in days]
    for entry, again in zip(
        catalog_at(shop.root).lane(MAIN).days,
        catalog_at(tmp_path / "again").lane(MAIN).days,
        strict=True,
    ):
        a, b = (
            edition_at(shop.root, entry).read("ctr_user"),
            edition_at(tmp_path / "again", again).read("ctr_user"),
        )
        assert a.digest == b.digest  # of the vectors themselves, bit for bit
    rebuild(shop.workspace, tmp_path / "mean", parse_policy("{kind: mean, k: 2}"), after(1))
    other = Shop(tmp_path / "mean", {"kind": "mean", "k": 2})
    assert other.live.day == after(5)
    assert catalog_at(tmp_path / "mean").lane(MAIN).days[0].day == after(1)
    with pytest.raises(StoreError, match="not empty"):
        rebuild(shop.workspace, tmp_path / "mean")
    with pytest.raises(ConfigError, match="kind"):
        parse_policy("{kind: median}")


def test_a_view_serves_what_it_has_and_cannot_see_a_later_day(tmp_path) -> None:
    shop = Shop(tmp_path)
    edition = day_of(shop, 0)
    served = EditionView(after(2), edition).read(
        "ctr_user", np.array([key_of("nobody"), key_of("u1")], np.uint64), after(3)
    )
    assert served.found_N.tolist() == [False, True]
    assert served.vectors_ND.tolist() == [[0, 0], [1, 1]]
    assert served.age_days_N.tolist() == [0, 3]
    with pytest.raises(LeakError, match="may not read what was published"):
        EditionView(after(1), edition).read("ctr_user", np.zeros(1, np.uint64), after(1))
    with pytest.raises(LeakError, match="was given the edition"):
        EditionView(after(-1), edition)
    assert not [
        name
        for name in dir(EditionView(D0, edition))
        if name in ("live", "days", "latest", "as_of")
    ]


def test_rows_of_many_days_read_what_was_served_to_each(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "latest"})
    editions = {after(n): day_of(shop, n) for n in range(4)}
    keys = np.array([key_of(value) for value in ("u1", "u2", "nobody", "u1")], np.uint64)
    days = np.array([after(n).toordinal() for n in (3, 1, 2, 0)])

    def view(day):
        earlier = [known for known in editions if known < day]
        return EditionView(day - (after(1) - D0), editions[max(earlier)] if earlier else None)

    served = point_in_time(view, "ctr_user", 2, keys, days)
    assert served.vectors_ND[:, 0].tolist() == [3, 1, 0, 0]
    assert served.found_N.tolist() == [True, True, False, False]
    new = shop.compose(
        after(9),
        [vectors_of(["u1"], [[1, 1]], after(9), space=space_of(2, "b" * 32))],
        lane="other",
    )
    with pytest.raises(SpaceMismatch, match="2 spaces"):
        point_in_time(
            lambda day: (
                EditionView(D0, new if day == after(10) else editions[D0])
                if day != after(10)
                else EditionView(after(9), new)
            ),
            "ctr_user",
            2,
            keys[:2],
            np.array([after(10).toordinal(), after(1).toordinal()]),
        )


@pytest.mark.parametrize("part", ["steps.npy", "states.npy", "segment.json"])
def test_a_damaged_segment_is_named(tmp_path, part) -> None:
    shop = Shop(tmp_path)
    day_of(shop, 0)
    segment = shop.live.part("ctr_user").segments[0]
    file = segment.folder / part
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(StoreError, match=str(file)):
        shop.live.read("ctr_user")


def test_every_byte_of_a_segment_is_under_its_digest(tmp_path) -> None:
    shop = Shop(tmp_path)
    day_of(shop, 0)
    segment = shop.live.part("ctr_user").segments[0]
    segment.verify()
    for file in segment.folder.glob("*.npy"):
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(StoreError, match=r"not those that were written|cannot be read"):
            segment.verify()
        file.write_bytes(whole)


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


def _read_until(root: str, stop, results) -> None:
    """A reader process: every answer must come whole from one edition, in which all vectors say the
    same day.
    """
    shop = Shop(Path(root), {"kind": "latest"}, {"compact_after": 3}, keep_days=5)
    answers, editions, problems, reader = 0, set(), [], shop.reader
    for n in itertools.count():
        if stop.is_set():
            break
        try:
            found = reader.lookup("user", IDS[:6]) if n % 3 else reader.retrieve("u1", 3)
            expected = {float((found.edition - D0).days + 1)}
            vectors = found.vectors if isinstance(found, Lookup) else {}
            values = {vector["ctr_user"][0] % 1000 for vector in vectors.values()} or expected
            if values != expected:
                problems.append(f"{found.edition}: {values}")
            answers, editions = answers + 1, editions | {found.digest}
        except Exception as error:
            problems.append(repr(error))
    results.put((answers, len(editions), problems[:3]))


@pytest.mark.slow
def test_no_reader_fails_or_sees_two_editions_while_a_hundred_are_published_and_rolled_back(
    tmp_path,
) -> None:
    shop = Shop(tmp_path, {"kind": "latest"}, {"compact_after": 3}, keep_days=5)
    day_of(shop, 0)
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    readers = [
        context.Process(target=_read_until, args=(str(tmp_path), stop, results)) for _ in range(2)
    ]
    for process in readers:
        process.start()
    time.sleep(2)  # until both have imported
    published, n = 1, 0
    while published < 100:
        n += 1
        day_of(shop, n, value=n + 1 + 1000 * (published % 7))
        published += 1
        if published % 3 == 0:
            rollback(shop.workspace, after(n - 1))
            n -= 1
    stop.set()
    found = [results.get(timeout=60) for _ in readers]
    for process in readers:
        process.join()
    assert all(problems == [] for _, _, problems in found), found
    # together: on a busy machine one of the readers may hardly come to run
    assert sum(answers for answers, _, _ in found) > 100, found
    assert max(editions for _, editions, _ in found) > 10, found


def test_a_replay_with_the_same_inputs_touches_no_file_that_readers_follow(tmp_path) -> None:
    shop = Shop(tmp_path)
    day_of(shop, 0)
    stamps = {
        path: path.stat().st_ino
        for path in (*shop.live.folder.rglob("*"), *(tmp_path / "segments").rglob("*"))
    }
    layout, rule = shop.workspace.layout, shop.workspace.rule
    daily, source = shop.workspace.daily_of(D0), Provenance({}, shop.live.daily)

    def again() -> Edition:
        return compose(layout, D0, None, daily, rule, source, again=True).edition

    assert again().digest == shop.live.digest
    assert {path: path.stat().st_ino for path in stamps} == stamps
    for damaged in (
        shop.live.folder / "ctr_user" / "row.npy",
        shop.live.part("ctr_user").segments[0].folder / "states.npy",
    ):
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert again().read("ctr_user").vectors_ND[0].tolist() == [1, 1]
        assert damaged.read_bytes() == whole  # made again


def test_what_was_built_upon_another_edition_cannot_come_back(tmp_path) -> None:
    shop = Shop(tmp_path)
    for n in range(3):
        day_of(shop, n)
    rollback(shop.workspace, after(1))
    day_of(shop, 1, value=50)  # day 1 again, from other inputs
    with pytest.raises(EditionMissing, match="no edition of 2025-01-03"):
        promote(shop.workspace, MAIN, after(2))


def test_copies_of_reports_are_right_again_after_a_kill_between_the_switch_and_them(
    tmp_path, monkeypatch
) -> None:
    shop = Shop(tmp_path)
    for n in range(3):
        shop.publish(after(n), [vectors_of([1, 2], np.eye(2) + n, after(n))])
    layout = shop.workspace.layout
    for n in range(3):
        write_copies(layout, DayReport(after(n), "f", shop.workspace.entry(after(n)).digest))
    with monkeypatch.context() as killed:
        killed.setattr(switch, "mirror_reports", lambda *catalogs: None)
        rollback(shop.workspace, after(1))
    assert layout.reported_days() == [after(0), after(1), after(2)]
    switch.switch_to(shop.workspace, shop.workspace.catalog())
    assert layout.reported_days() == [after(0), after(1)]


def test_a_window_of_rows_is_kept_as_long_as_an_upstream_reads_it() -> None:
    def run(*windows: int) -> Run:
        plans = {str(n): SimpleNamespace(needs=Needs(window_days=n)) for n in windows}
        return SimpleNamespace(plans=plans, workspace=SimpleNamespace(longest_wait_days=2))

    assert [days_to_keep(run(*windows)) for windows in ((), (1,), (3,), (6, 1))] == [2, 2, 2, 5]


@pytest.mark.parametrize("online", ["lmdb", "none"])
def test_a_look_up_of_many_is_that_of_each_and_asks_the_store_once_an_embedding(
    tmp_path, online, monkeypatch
) -> None:
    shop = Shop(tmp_path, store={"online": online})
    for n in range(2):
        shop.publish(after(n), [vectors_of([1 + n, 3], np.eye(2) + n, after(n))])
    ids = [3, "1", 2, 3]
    each = {str(value): shop.reader.lookup("user", [value]).vectors[str(value)] for value in ids}
    asked: list[int] = []
    of_many = reader.get_served
    monkeypatch.setattr(
        reader, "get_served", lambda *rest: asked.append(len(rest[-1])) or of_many(*rest)
    )
    assert shop.reader.lookup("user", ids).vectors == each
    assert asked == ([4] if online == "lmdb" else [])
