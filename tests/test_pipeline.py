"""The day as a whole: reruns, conflicts, replays, resumption."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from conftest import day, tiny_config
from headwater.errors import EditionConflict, GateError, LogError, ModelError, StoreError
from headwater.pipeline import Factory
from headwater.store import EditionStore, LmdbStore


def bytes_of(folder: Path) -> dict[str, str]:
    """Digest of every file below, locks aside."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".lock", ".mdb")}  # fmt: skip


def run(factory: Factory, last: int) -> dict[str, str]:
    return {report["day"]: report["edition"] for report in factory.backfill(day(0), day(last))}


def test_running_past_days_again_changes_no_byte(make_factory) -> None:
    factory = make_factory()
    editions = run(factory, 2)
    before = bytes_of(factory.warehouse)
    assert run(make_factory(), 2) == editions
    assert make_factory().run_day(day(1))["edition"] == editions[str(day(1))]
    assert bytes_of(factory.warehouse) == before


def test_the_same_inputs_elsewhere_give_the_same_editions(make_factory) -> None:
    assert run(make_factory(name="one"), 1) == run(make_factory(lambda raw: raw.update(workers=2), name="two"), 1)


def change_a_label(factory: Factory, n: int) -> None:
    path = factory.root / "world" / "impressions" / f"{day(n)}.parquet"
    frame = pl.read_parquet(path)
    first = pl.int_range(pl.len()) == 0
    frame.with_columns(pl.when(first).then(1 - pl.col("is_click")).otherwise(pl.col("is_click")).cast(pl.Int8).alias("is_click")).write_parquet(path)


def test_a_changed_input_is_a_conflict_until_it_is_replaced(make_factory) -> None:
    factory = make_factory()
    editions = run(factory, 2)
    change_a_label(factory, 1)
    before = bytes_of(factory.warehouse)
    with pytest.raises(EditionConflict, match="made from other inputs"):
        make_factory().run_day(day(1))
    assert bytes_of(factory.warehouse) == before
    make_factory().run_day(day(1), replay=True)
    replayed = {str(known): EditionStore(factory.warehouse).get(known).digest for known in (day(0), day(1), day(2))}
    assert replayed[str(day(0))] == editions[str(day(0))]
    assert replayed[str(day(1))] != editions[str(day(1))]
    assert replayed[str(day(2))] != editions[str(day(2))]  # an average remembers
    fresh = make_factory(name="fresh")
    change_a_label(fresh, 1)
    assert run(fresh, 2) == replayed


def test_a_replay_of_a_day_that_cannot_be_read_costs_nothing(make_factory) -> None:
    factory = make_factory()
    run(factory, 1)
    before = bytes_of(factory.warehouse)
    with pytest.raises(LogError, match="no rows on 2020"):
        make_factory().run_day(dt.date(2020, 1, 1), replay=True)
    assert bytes_of(factory.warehouse) == before


def test_a_replay_that_was_killed_is_finished_by_the_next_run(make_factory) -> None:
    factory = make_factory()
    editions = run(factory, 2)
    (factory.warehouse / "replay.json").write_text(json.dumps([str(day(1)), str(day(2))]))  # killed before its first day was done
    factory.report_path(day(1)).unlink()
    assert make_factory().run_day(day(3))["day"] == str(day(3))
    assert not (factory.warehouse / "replay.json").exists()
    assert {str(known): factory.store.get(known).digest for known in factory.days_done()[:3]} == editions


def test_what_an_unfinished_day_left_behind_is_not_built_upon(make_factory) -> None:
    one, two = make_factory(name="one"), make_factory(name="two")
    for factory in (one, two):
        run(factory, 0)
    one.run_day(day(1))
    one.report_path(day(1)).unlink()  # as if killed just before the report: checkpoint and edition are there
    for factory in (one, two):
        factory.run_day(day(2))
    assert one.store.get(day(2)).digest == two.store.get(day(2)).digest


def test_a_damaged_checkpoint_is_made_again_by_a_replay(make_factory) -> None:
    factory = make_factory()
    editions = run(factory, 1)
    for file in (factory.warehouse / "models").rglob(f"{day(1)}/**/*.safetensors"):
        file.write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        factory.run_day(day(2))
    make_factory().run_day(day(1), replay=True)
    assert factory.store.get(day(1)).digest == editions[str(day(1))]
    assert make_factory().run_day(day(2))["day"] == str(day(2))


def test_a_lost_online_store_or_index_is_filled_again_by_the_last_day(make_factory) -> None:
    factory = make_factory()
    run(factory, 1)
    for lost in ("online", "indexes"):
        shutil.rmtree(factory.warehouse / lost)
    factory.run_day(day(1))
    edition = factory.store.live()
    assert LmdbStore(factory.warehouse / "online").get(edition.snapshots["ctr_user"]["digest"], 1) is None
    assert len(list((factory.warehouse / "indexes").iterdir())) == 2
    shutil.rmtree(edition.folder)
    with pytest.raises(StoreError, match="its edition is gone"):
        factory.run_day(day(1))


def test_a_day_counts_as_served_only_when_there_was_an_edition_to_read(make_factory) -> None:
    factory = make_factory(lambda raw: raw["lifecycle"].update(lag_days=2))
    run(factory, 2)
    kept = [pl.read_parquet(factory.warehouse / "predictions" / "ctr" / f"{day(n)}.parquet")["served"][0] for n in range(3)]
    assert kept == [False, False, True]


def test_labels_are_never_joined_to_other_rows(make_factory) -> None:
    factory = make_factory()
    run(factory, 1)
    path = factory.root / "world" / "impressions" / f"{day(0)}.parquet"
    pl.read_parquet(path)[1:].write_parquet(path)  # a row is withdrawn after it was predicted
    with pytest.raises(EditionConflict, match="no longer those that were predicted"):
        factory.run_day(day(2))


def test_an_upstream_may_learn_tasks_that_mature_apart(make_factory) -> None:
    factory = make_factory(lambda raw: raw["upstreams"]["ctr"].update(tasks=["click", "conversion"]))
    assert [report["upstream"]["ctr"]["steps"] for report in factory.backfill(day(0), day(2))] == [2, 2, 3]


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
    assert factory.run_day(day(3))["day"] == str(day(3))


def test_a_refused_edition_is_not_published(make_factory) -> None:
    factory = make_factory(lambda raw: raw.update(gates={"min_effective_rank": 1e6}))
    with pytest.raises(GateError, match="effective rank is .*, allowed 1e"):
        factory.run_day(day(0))
    assert factory.store.days() == []
    assert factory.days_done() == []


def test_what_was_judged_was_not_learnt_yet(make_factory) -> None:
    """Scrambling a day's labels changes the models of later days, never the predictions of that day itself."""
    one, two = make_factory(name="one"), make_factory(name="two")
    run(one, 2)
    path = two.root / "world" / "impressions" / f"{day(2)}.parquet"
    frame = pl.read_parquet(path)
    frame.with_columns(pl.col("is_click").reverse(), pl.lit(0, dtype=pl.Int8).alias("is_long_click")).write_parquet(path)
    run(two, 2)
    predicted = [pl.read_parquet(f.warehouse / "predictions" / "ctr" / f"{day(2)}.parquet") for f in (one, two)]
    scores = [name for name in predicted[0].columns if "|" in name]
    without_counters = [frame.select(scores) for frame in predicted]
    users_first = [frame.with_row_index("n").unique("user", keep="first").sort("n")["n"] for frame in predicted]
    # a user's first row of the day has no earlier row of that day in its history
    assert without_counters[0][users_first[0]].equals(without_counters[1][users_first[1]])


def start(path: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "headwater.app.cli", "backfill", "--factory", str(path), "--from", str(day(0)), "--to", str(day(3)), "--no-report"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_killed_ten_times_it_ends_where_an_undisturbed_run_ends(tmp_path, world, done) -> None:
    path = tmp_path / "factory.yaml"
    raw = tiny_config(world)
    path.write_text(yaml.safe_dump(json.loads(json.dumps(raw)), sort_keys=False))
    warehouse, moments = tmp_path / "warehouse", random.Random(4)
    kills = 0
    while kills < 10:
        process, before = start(path), len(bytes_of(warehouse))
        deadline = time.monotonic() + 60
        while len(bytes_of(warehouse)) <= before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)  # until it has begun to write
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        for edition in EditionStore(warehouse).days():  # a reader never meets half an edition
            for name in EditionStore(warehouse).get(edition).snapshots:
                EditionStore(warehouse).get(edition).read(name)
    last = start(path)
    assert last.wait() == 0, last.stderr.read().decode()
    expected = EditionStore(done.parent / "warehouse")
    found = EditionStore(warehouse)
    assert found.days() == expected.days()
    assert [found.get(d).digest for d in found.days()] == [expected.get(d).digest for d in expected.days()]
    assert found.live().day == day(3)
    assert not list(warehouse.rglob(".tmp-*"))
    assert kills >= 5
