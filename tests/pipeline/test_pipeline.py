"""The day as a whole: reruns, conflicts, replays, resumption."""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from at import catalog_at, put_catalog
from conftest import bytes_of, day, tiny_config
from headwater.errors import (
    ConfigError,
    EditionConflict,
    GateError,
    LogError,
    ModelError,
    StoreError,
)
from headwater.factory import Factory
from headwater.lifecycle import rollback
from headwater.serving.reader import Reader
from headwater.store import Edition


def editions_of(factory: Factory) -> dict[str, str]:
    """The editions that a factory has, by day."""
    workspace = factory.workspace
    return {str(known): workspace.edition(known).digest for known in factory.days_done()}


def run(factory: Factory, last: int) -> dict[str, str]:
    return {str(report.day): report.edition for report in factory.backfill(day(0), day(last))}


def test_running_past_days_again_changes_no_byte(make_factory) -> None:
    factory = make_factory(ran=3)
    editions = editions_of(factory)
    before = bytes_of(factory.workspace.layout.root)
    assert run(make_factory(), 2) == editions
    assert make_factory().run_day(day(1)).edition == editions[str(day(1))]
    assert bytes_of(factory.workspace.layout.root) == before


def test_the_same_inputs_elsewhere_give_the_same_editions(make_factory) -> None:
    assert run(make_factory(name="one"), 1) == run(
        make_factory(lambda raw: raw.update(workers=2), name="two"), 1
    )


def change_a_label(factory: Factory, n: int) -> None:
    path = factory.workspace.root / "world" / "impressions" / f"{day(n)}.parquet"
    frame = pl.read_parquet(path)
    first = pl.int_range(pl.len()) == 0
    frame.with_columns(
        pl.when(first)
        .then(1 - pl.col("is_click"))
        .otherwise(pl.col("is_click"))
        .cast(pl.Int8)
        .alias("is_click")
    ).write_parquet(path)


def test_a_changed_input_is_a_conflict_until_it_is_replaced(make_factory) -> None:
    factory = make_factory(ran=3)
    editions = editions_of(factory)
    change_a_label(factory, 1)
    before = bytes_of(factory.workspace.layout.root)
    with pytest.raises(EditionConflict, match="made from other inputs"):
        make_factory().run_day(day(1))
    assert bytes_of(factory.workspace.layout.root) == before
    make_factory().run_day(day(1), replay=True)
    replayed = {
        str(known): factory.workspace.edition(known).digest for known in (day(0), day(1), day(2))
    }
    assert replayed[str(day(0))] == editions[str(day(0))]
    assert replayed[str(day(1))] != editions[str(day(1))]
    assert replayed[str(day(2))] != editions[str(day(2))]  # an average remembers
    fresh = make_factory(name="fresh")
    change_a_label(fresh, 1)
    assert run(fresh, 2) == replayed


def test_a_replay_of_a_day_that_cannot_be_read_costs_nothing(make_factory) -> None:
    factory = make_factory(ran=2)
    before = bytes_of(factory.workspace.layout.root)
    with pytest.raises(LogError, match="no rows on 2020"):
        make_factory().run_day(dt.date(2020, 1, 1), replay=True)
    assert bytes_of(factory.workspace.layout.root) == before


def test_a_replay_that_was_killed_is_finished_by_the_next_run(make_factory) -> None:
    factory = make_factory(ran=3)
    editions = editions_of(factory)
    (factory.workspace.layout.root / "replay.json").write_text(
        json.dumps([str(day(1)), str(day(2))])
    )  # killed before its first day was done
    assert make_factory().run_day(day(3)).day == day(3)
    assert not (factory.workspace.layout.root / "replay.json").exists()
    assert {
        str(known): factory.workspace.edition(known).digest for known in factory.days_done()[:3]
    } == editions


def test_what_an_unfinished_day_left_behind_is_not_built_upon(make_factory) -> None:
    one, two = make_factory(name="one"), make_factory(name="two")
    for factory in (one, two):
        run(factory, 0)
    catalog = one.workspace.layout.root / "catalog"
    shutil.copytree(catalog, catalog.with_name("aside"))
    one.run_day(day(1))
    shutil.rmtree(catalog)
    # as if killed just before the switch: checkpoint and edition are there
    catalog.with_name("aside").rename(catalog)
    for factory in (one, two):
        factory.run_day(day(2))
    assert one.workspace.edition(day(2)).digest == two.workspace.edition(day(2)).digest


def test_a_damaged_checkpoint_is_made_again_by_a_replay(make_factory) -> None:
    factory = make_factory(ran=2)
    editions = editions_of(factory)
    for file in (factory.workspace.layout.root / "models").rglob(f"{day(1)}/**/*.safetensors"):
        file.write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        factory.run_day(day(2))
    make_factory().run_day(day(1), replay=True)
    assert factory.workspace.edition(day(1)).digest == editions[str(day(1))]
    assert make_factory().run_day(day(2)).day == day(2)


def test_a_lost_online_store_or_index_is_filled_again_by_the_last_day(make_factory) -> None:
    factory = make_factory(ran=2)
    for lost in ("online", "indexes"):
        shutil.rmtree(factory.workspace.layout.root / lost)
    factory.run_day(day(1))
    assert Reader(factory.workspace).similar("item", "ad-1").items
    assert len(list((factory.workspace.layout.root / "indexes").iterdir())) == 2
    shutil.rmtree(factory.workspace.edition(day(1)).folder)
    with pytest.raises(StoreError, match="its edition is gone"):
        factory.run_day(day(1))


def test_a_day_counts_as_served_only_when_there_was_an_edition_to_read(make_factory) -> None:
    factory = make_factory(lambda raw: raw["lifecycle"].update(lag_days=2), ran=3)
    kept = [
        pl.read_parquet(
            factory.workspace.layout.root / "predictions" / "ctr" / f"{day(n)}.parquet"
        )["served"][0]
        for n in range(3)
    ]
    assert kept == [False, False, True]


def test_labels_are_never_joined_to_other_rows(make_factory) -> None:
    factory = make_factory(ran=2)
    path = factory.workspace.root / "world" / "impressions" / f"{day(0)}.parquet"
    pl.read_parquet(path)[1:].write_parquet(path)  # a row is withdrawn after it was predicted
    with pytest.raises(EditionConflict, match="no longer those that were predicted"):
        factory.run_day(day(2))


def test_an_upstream_may_learn_tasks_that_mature_apart(make_factory) -> None:
    factory = make_factory(
        lambda raw: raw["upstreams"]["ctr"].update(tasks=["click", "conversion"])
    )
    assert [report.upstream["ctr"].steps for report in factory.backfill(day(0), day(2))] == [
        2,
        2,
        3,
    ]


def test_a_changed_config_is_a_conflict_too(make_factory) -> None:
    run(make_factory(), 1)
    with pytest.raises(EditionConflict):
        make_factory(lambda raw: raw.update(seed=5)).run_day(day(1))


def test_a_day_cannot_be_slipped_in(make_factory) -> None:
    factory = make_factory()
    factory.run_day(day(0))
    factory.run_day(day(2))
    with pytest.raises(EditionConflict, match="averages remember"):
        factory.run_day(day(1))
    assert factory.run_day(day(3)).day == day(3)


def test_a_refused_edition_is_kept_aside_and_not_published(make_factory) -> None:
    run(make_factory(), 0)
    factory = make_factory(lambda raw: raw.update(gates={"min_effective_rank": 1e6}))
    with pytest.raises(
        GateError, match=r"effective rank is .*, allowed 1e(?s:.*)It lies in .*refused/2025-01-07"
    ):
        factory.run_day(day(1))
    assert factory.days_done() == [day(0)]
    assert Reader(factory.workspace).edition().day == day(0)
    aside = next((factory.workspace.layout.root / "refused" / str(day(1))).iterdir())
    assert len(Edition.load(aside).read("ctr_user")) > 50  # whole, for inspection
    why = json.loads((aside / "refused.json").read_text())
    assert all("effective rank" in line for line in why["failed"])
    assert (
        run(make_factory(), 1)[str(day(1))] == Edition.load(aside).digest
    )  # the threshold put right, the same edition is published
    judged = pl.read_parquet(factory.workspace.layout.root / "judged" / "ctr" / f"{day(1)}.parquet")
    assert len(judged)


def test_force_publishes_and_is_written_down_everywhere(make_factory) -> None:
    factory = make_factory(lambda raw: raw.update(gates={"min_effective_rank": 1e6}))
    report = factory.run_day(day(0), force=True)
    assert any("effective rank" in line for line in report.forced)
    assert factory.workspace.entry(day(0)).forced == report.forced
    monitor = json.loads(
        (factory.workspace.layout.root / "monitors" / f"{day(0)}.json").read_text()
    )
    assert monitor["forced"] == list(report.forced)
    failed = [
        gate
        for found in monitor["snapshots"].values()
        for gate in found["gates"]
        if not gate["passed"]
    ]
    assert {gate["check"] for gate in failed} == {"effective rank"}
    assert all({"figure", "threshold", "reason"} <= set(gate) for gate in failed)


def test_a_day_whose_log_is_broken_is_refused_by_the_gates(make_factory) -> None:
    """A tenth of the rows arrived, and of few users: the counts say so."""
    factory = make_factory(ran=4)
    path = factory.workspace.root / "world" / "impressions" / f"{day(4)}.parquet"
    frame = pl.read_parquet(path)
    frame.filter(
        pl.col("user_id").is_in(frame["user_id"].unique().sort()[:12].implode())
    ).write_parquet(path)
    with pytest.raises(GateError, match="ctr_user: fresh rows"):
        make_factory().run_day(day(4))


def test_a_missed_a_late_and_a_corrected_day_have_one_command(make_factory) -> None:
    straight = make_factory(name="straight", ran=4)
    mended = make_factory(name="mended")
    for n in (0, 2, 3):  # day 1 was missed, or its data came late
        mended.run_day(day(n))
    make_factory(name="mended").run_day(day(1), replay=True)
    assert [mended.workspace.edition(day(n)).digest for n in range(4)] == [
        straight.workspace.edition(day(n)).digest for n in range(4)
    ]
    assert Reader(mended.workspace).edition().day == day(3)


def test_readers_stay_served_throughout_a_replay(make_factory, monkeypatch) -> None:
    factory = make_factory(ran=3)
    reader, seen = Reader(factory.workspace), []
    import headwater.pipeline.day as pipeline

    def watched(*arguments, **options):
        seen.append(reader.similar("item", "ad-1").edition)
        return compose(*arguments, **options)

    compose = pipeline.compose_day
    monkeypatch.setattr(pipeline, "compose_day", watched)
    change_a_label(factory, 1)
    make_factory().run_day(day(1), replay=True)
    assert seen == [day(2)] * 2


def test_labels_that_mature_late_never_change_a_published_edition(make_factory) -> None:
    """Conversions come days after their click: the editions of the days in between are the same
    whether they come or not.
    """
    one, two = make_factory(name="one"), make_factory(name="two")
    run(one, 3)
    for path in (two.workspace.root / "world" / "purchases").glob("*.parquet"):
        frame = pl.read_parquet(path)
        frame.filter(pl.col("time").cast(pl.Datetime("us")).dt.date() < day(2)).write_parquet(path)
    two = make_factory(name="two")
    for n in range(2):
        two.run_day(day(n))
    assert [one.workspace.edition(day(n)).digest for n in range(2)] == [
        two.workspace.edition(day(n)).digest for n in range(2)
    ]


def test_another_policy_is_replayed_without_training_an_upstream(make_factory) -> None:
    factory = make_factory(ran=3)
    stamps = {
        path: path.stat().st_mtime_ns
        for name in ("ctr", "cvr")
        for path in (factory.workspace.layout.root / "models" / name).rglob("*")
    }
    other = make_factory(lambda raw: raw["lifecycle"].update(policy={"kind": "mean", "k": 2}))
    with pytest.raises(EditionConflict):
        other.run_day(day(0))
    other.run_day(day(0), replay=True)
    assert {
        path: path.stat().st_mtime_ns
        for name in ("ctr", "cvr")
        for path in (factory.workspace.layout.root / "models" / name).rglob("*")
    } == stamps
    fresh = make_factory(
        lambda raw: raw["lifecycle"].update(policy={"kind": "mean", "k": 2}), name="fresh", ran=3
    )
    assert [other.workspace.edition(day(n)).digest for n in range(3)] == [
        fresh.workspace.edition(day(n)).digest for n in range(3)
    ]


def test_rankers_read_sequences(make_factory) -> None:
    factory = make_factory(
        lambda raw: raw["lifecycle"].update(policy={"kind": "last", "k": 3}), ran=3
    )
    served = factory.workspace.served_on(day(3)).read(
        "ctr_user", factory.workspace.edition(day(2)).part("ctr_user").keys, day(3)
    )
    assert served.sequence_NKD.shape[1:] == (3, served.space.width)
    assert set(np.unique(served.steps_N)) == {1, 2, 3}


def test_rollback_of_a_factory_continues_from_the_right_state(make_factory) -> None:
    straight = make_factory(name="straight", ran=4)
    mended = make_factory(name="mended", ran=3)
    rollback(mended.workspace, day(0))
    assert not mended.workspace.layout.report(day(1)).exists()
    again = make_factory(name="mended")
    run(again, 3)
    assert [again.workspace.edition(day(n)).digest for n in range(4)] == [
        straight.workspace.edition(day(n)).digest for n in range(4)
    ]


def test_a_kept_window_lets_old_days_go(make_factory, monkeypatch) -> None:
    monkeypatch.setattr(
        "headwater.lifecycle.retention.MARGIN_DAYS", -3
    )  # the tiny world has six days
    with pytest.raises(ConfigError, match="lifecycle.keep_days: 4 is too short; .* at least 5"):
        make_factory(lambda raw: raw["lifecycle"].update(keep_days=4))
    factory = make_factory(lambda raw: raw["lifecycle"].update(keep_days=5))
    run(factory, 5)
    assert factory.days_done() == [day(n) for n in range(6)]
    kept = [factory.workspace.entry(day(n)) for n in range(6)]
    assert [bool(entry.folder and factory.workspace.open(entry)) for entry in kept] == [
        False,
        *[True] * 5,
    ]
    assert {
        path.parent.name for path in (factory.workspace.layout.root / "models" / "ctr").glob("*/*")
    } == {str(day(n)) for n in range(1, 6)}
    assert make_factory(lambda raw: raw["lifecycle"].update(keep_days=5)).run_day(day(0)).edition


def test_what_was_judged_was_not_learnt_yet(make_factory) -> None:
    """Scrambling a day's labels changes the models of later days, never the predictions of that day
    itself.
    """
    one, two = make_factory(name="one"), make_factory(name="two")
    run(one, 2)
    path = two.workspace.root / "world" / "impressions" / f"{day(2)}.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(
        pl.col("is_click").reverse(), pl.lit(0, dtype=pl.Int8).alias("is_long_click")
    ).write_parquet(path)
    run(two, 2)
    predicted = [
        pl.read_parquet(f.workspace.layout.root / "predictions" / "ctr" / f"{day(2)}.parquet")
        for f in (one, two)
    ]
    scores = [name for name in predicted[0].columns if "|" in name]
    without_counters = [frame.select(scores) for frame in predicted]
    users_first = [
        frame.with_row_index("n").unique("user", keep="first").sort("n")["n"] for frame in predicted
    ]
    # a user's first row of the day has no earlier row of that day in its history
    assert without_counters[0][users_first[0]].equals(without_counters[1][users_first[1]])


def names_in(folder: Path) -> set[str]:
    """The files below a folder in which another process works: what vanishes meanwhile is passed
    over.
    """
    return {os.path.join(at, name) for at, _, names in os.walk(folder) for name in names}


def start(path: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "headwater.cli.main",
        "backfill",
        "--factory",
        str(path),
        "--from",
        str(day(0)),
        "--to",
        str(day(3)),
        "--no-report",
    ]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_killed_ten_times_it_ends_where_an_undisturbed_run_ends(tmp_path, world, done) -> None:
    path = tmp_path / "factory.yaml"
    raw = tiny_config(world)
    path.write_text(yaml.safe_dump(json.loads(json.dumps(raw)), sort_keys=False))
    warehouse, moments = tmp_path / "warehouse", random.Random(4)
    kills = 0
    while kills < 10:
        before, process = names_in(warehouse), start(path)
        deadline = time.monotonic() + 60
        while (
            names_in(warehouse) <= before and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(
                0.01
            )  # until it has begun to write; it may have removed what a kill left behind before
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        for _, entry in catalog_at(warehouse).mentioned():  # a reader never meets half an edition
            edition = Edition.load(warehouse / str(entry.folder))
            for name in edition.snapshots:
                edition.read(name)
    last = start(path)
    assert last.wait() == 0, last.stderr.read().decode()
    expected, found = catalog_at(done.parent / "warehouse"), catalog_at(warehouse)
    assert [(entry.day, entry.digest) for entry in found.lane("main").days] == [
        (entry.day, entry.digest) for entry in expected.lane("main").days
    ]
    assert found.live.entry.day == day(3)
    assert not list(warehouse.rglob(".tmp-*"))
    assert kills >= 5


def test_replays_and_rollbacks_work_in_a_factory_older_than_its_window(make_factory) -> None:
    """Six days run, five kept: whatever the window still holds can be run again, and rankers learn
    no day more than once.
    """

    def change(raw) -> None:
        raw["lifecycle"].update(keep_days=5)

    straight = make_factory(change, name="straight", ran=6)
    factory = make_factory(change, ran=6)
    shutil.rmtree(
        factory.workspace.layout.root / "models" / "downstream" / "ctr" / str(day(3)),
        ignore_errors=True,
    )
    make_factory(change).run_day(day(4), replay=True)
    rollback(factory.workspace, day(3))
    again = make_factory(change)
    again.run_day(day(4))
    again.run_day(day(5))
    assert [again.workspace.edition(day(n)).digest for n in (3, 4, 5)] == [
        straight.workspace.edition(day(n)).digest for n in (3, 4, 5)
    ]
    catalog = catalog_at(factory.workspace.layout.root)
    folder = str(again.workspace.entry(day(1)).folder)
    put_catalog(factory.workspace.layout.root, catalog.renewed({folder: None}, "main"))
    with pytest.raises(StoreError, match="has left the point-in-time window"):
        make_factory(change).run_day(day(2), replay=True)
    assert not (
        factory.workspace.layout.root / "replay.json"
    ).exists()  # refused before anything was touched


def test_replacing_a_day_that_was_never_run_runs_it(make_factory) -> None:
    factory = make_factory(ran=1)
    assert make_factory().run_day(day(1), replay=True).day == day(1)
    assert factory.days_done() == [day(0), day(1)]
    assert not (factory.workspace.layout.root / "replay.json").exists()


def test_a_replay_trains_each_ranker_once_a_day(make_factory, monkeypatch) -> None:
    make_factory(ran=5)
    import headwater.pipeline.day as pipeline

    learnt, learn = [], pipeline.learn

    def watched(run, inputs, *rest, **options):
        learnt.append(inputs.day)
        learn(run, inputs, *rest, **options)

    monkeypatch.setattr(pipeline, "learn", watched)
    make_factory().run_day(day(1), replay=True)
    assert learnt == [day(n) for n in (1, 2, 3, 4)]


def test_a_damaged_daily_snapshot_is_made_again_by_a_replay(make_factory) -> None:
    factory = make_factory(ran=2)
    editions = editions_of(factory)
    shutil.rmtree(
        factory.workspace.layout.home / factory.workspace.edition(day(1)).daily["ctr"] / "ctr_user"
    )
    make_factory().run_day(day(1), replay=True)
    assert factory.workspace.edition(day(1)).digest == editions[str(day(1))]
    assert len(factory.workspace.daily_of(day(1))) == 4


def test_rolling_back_before_an_unfinished_replay_gives_it_up(make_factory) -> None:
    factory = make_factory(ran=4)
    (factory.workspace.layout.root / "replay.json").write_text(
        json.dumps([str(day(2)), str(day(3))])
    )
    with pytest.raises(StoreError, match="was not finished; go back to a day before that"):
        rollback(factory.workspace, day(2))
    rollback(factory.workspace, day(1))
    assert not (factory.workspace.layout.root / "replay.json").exists()
    assert make_factory().run_day(day(2)).day == day(2)
