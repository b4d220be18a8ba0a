"""Training sets: what a row holds is what was served to it, looked up one by one; nothing of its
own day, nothing half-written.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from at import catalog_at, put_catalog
from conftest import day
from headwater.config import parse_config
from headwater.errors import ConfigError, EditionMissing, SpaceMismatch, StoreError
from headwater.exports.training_set import TrainingSet, Wanted
from headwater.factory import Factory
from headwater.ids import key_of
from headwater.lifecycle import compact_where_due, erase, retire
from headwater.store import MAIN
from headwater.store.catalog import Lane
from headwater.workspace import Workspace
from shop import RAW, Shop, after, space_of, vectors_of

EMBEDDINGS = ("ctr_user", "ctr_item", "cvr_user", "cvr_item")


@pytest.fixture(scope="module")
def written(done, tmp_path_factory) -> Path:
    """Four days of impressions."""
    path = tmp_path_factory.mktemp("written") / "rows.parquet"
    assert (
        TrainingSet.load(done, day(0), day(3), log="impressions").write(path)
        == pl.scan_parquet(path).select(pl.len()).collect().item()
    )
    return path


@pytest.fixture(scope="module")
def rows(written) -> pl.DataFrame:
    """The same, read back."""
    return pl.read_parquet(written)


# ---- on a factory that ran -----------------------------------------------------------------------


def test_each_row_has_the_vector_that_was_served_to_it_bit_for_bit(done, rows) -> None:
    factory = Factory.load(done)
    found = 0
    for row in rows[::9].iter_rows(named=True):
        view = factory.workspace.served_on(row["day"])
        assert row["edition"] == (view.edition.day if view.edition else None)
        for name in EMBEDDINGS:
            key = np.array(
                [key_of(row["user_id" if name.endswith("user") else "ad_id"])], np.uint64
            )
            served = view.edition.lookup(name, key, row["day"]) if view.edition else None
            assert row[f"{name}_found"] == (served is not None and bool(served.found_N[0]))
            if row[f"{name}_found"]:
                assert np.array(row[name], np.float32).tobytes() == served.vectors_ND[0].tobytes()
                assert row[f"{name}_age_days"] == served.age_days_N[0]
                found += 1
            else:
                assert set(row[name]) == {None}
                assert row[f"{name}_age_days"] is None
    assert found > 200


def test_no_row_reads_an_edition_that_has_seen_its_day(rows) -> None:
    assert rows.filter(pl.col("edition") >= pl.col("day")).is_empty()
    seen = rows.with_columns(
        first=pl.col("day").min().over("user_id"),
        before=pl.col("day").rank("dense").over("user_id"),
    )
    strangers = seen.filter(pl.col("day") == pl.col("first"))
    assert len(strangers) > 100
    assert not strangers[
        "ctr_user_found"
    ].any()  # their vectors of that day exist, and have seen these rows
    assert seen.filter(pl.col("day") > pl.col("first"))["ctr_user_found"].all()


def test_labels_are_null_where_not_defined_and_where_not_matured(done, rows) -> None:
    world = done.parent / "world"
    raw = pl.concat(
        [pl.read_parquet(world / "impressions" / f"{day(n)}.parquet") for n in range(4)]
    ).sort("time", "user_id")
    bought = pl.concat([pl.read_parquet(path) for path in (world / "purchases").glob("*.parquet")])
    ours = rows.sort("time", "user_id")
    assert ours["click"].to_list() == raw["is_click"].cast(pl.Float32).to_list()
    assert (
        ours.filter(pl.col("click") == 0).select("long_click", "conversion").null_count().row(0)
        == (ours.filter(pl.col("click") == 0).height,) * 2
    )
    matured = ours["day"] <= day(1)  # purchases mature after two days; the last day done is day 3
    clicked = ours["click"] == 1
    assert ours.filter(clicked & ~matured)["conversion"].is_null().all()
    known = raw.filter(clicked & matured)
    in_time = bought.filter(pl.col("impression_id").is_not_null()).join(
        known.select("impression_id", shown="time"), on="impression_id"
    )
    in_time = in_time.filter(
        pl.col("time").dt.date() <= pl.col("shown").dt.date() + dt.timedelta(days=2)
    )
    assert (
        ours.filter(clicked & matured)["conversion"].sum()
        == in_time["impression_id"].n_unique()
        > 0
    )


def test_features_and_counters_are_as_of_the_row(done, rows) -> None:
    world = done.parent / "world"
    users = {
        row["user_id"]: row
        for row in pl.read_parquet(world / "users.parquet").iter_rows(named=True)
    }
    items = {
        row["ad_id"]: row for row in pl.read_parquet(world / "items.parquet").iter_rows(named=True)
    }
    clicks: dict[Any, int] = {}
    for row in rows.iter_rows(named=True):
        user, item = users[row["user_id"]], items[row["ad_id"]]
        assert (row["user.age"], row["item.price"], row["item.advertiser"]) == (
            user["age"],
            pytest.approx(item["price"]),
            item["advertiser"],
        )
        assert row["item.picture"] == pytest.approx(item["picture"])
        if row["item.created"] is not None:
            assert row["item.created"] <= dt.datetime.combine(row["day"], dt.time(), dt.UTC)
        assert np.expm1(row["user.history.log1p_events"]) == pytest.approx(
            min(clicks.get(row["user_id"], 0), 30), abs=1e-4
        )
        clicks[row["user_id"]] = clicks.get(row["user_id"], 0) + int(row["click"])
    assert (
        rows["user.history.log1p_hours_since"].null_count()
        == rows.filter(pl.col("user.history.log1p_events") == 0).height
    )


def test_the_same_bytes_again_and_the_same_rows_in_batches_of_any_size(
    done, written, tmp_path
) -> None:
    made = TrainingSet.load(done, day(0), day(3), log="impressions")
    made.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == written.read_bytes()
    reader = made.reader(batch_rows=37)
    batches = list(reader)
    assert max(len(batch) for batch in batches) == 37
    assert (
        pa.Table.from_batches(batches).combine_chunks() == pq.read_table(written).combine_chunks()
    )
    about = json.loads(pq.read_schema(written).metadata[b"headwater"])
    assert about["spaces"]["ctr_user"] == str(
        Factory.load(done).workspace.served_on(day(3)).edition.space("ctr_user")
    )


def test_less_may_be_asked_for(done) -> None:
    made = TrainingSet.load(
        done, day(2), day(2), log="visits", embeddings=["cvr_item"], features=False
    )
    assert made.schema.names == [
        "time",
        "day",
        "group_key",
        "user_id",
        "ad_id",
        "source",
        "purchase",
        "edition",
        "cvr_item",
        "cvr_item_found",
        "cvr_item_age_days",
    ]
    assert (
        TrainingSet.load(done, day(2), day(2), consumer="cvr", embeddings=[]).schema.names[-1]
        == "edition"
    )


def test_what_is_not_there_is_said(done) -> None:
    def load(start: int = 0, end: int = 3, **asked: Any) -> TrainingSet:
        return TrainingSet.load(done, day(start), day(end), **asked)

    with pytest.raises(
        EditionMissing,
        match=f"{day(4)}, {day(5)}: not run in the lane 'main'; it has 4, {day(0)} to {day(3)}",
    ):
        load(2, 5, log="impressions")
    with pytest.raises(
        ConfigError, match="no log named 'clicks'; declared: impressions, visits, purchases"
    ):
        load(log="clicks")
    with pytest.raises(ConfigError, match="no consumer named 'x'; declared: ctr, cvr"):
        load(consumer="x")
    with pytest.raises(ConfigError, match="Name one of the logs impressions, visits"):
        load()
    with pytest.raises(ConfigError, match="no embedding named ctr_ad"):
        load(log="visits", embeddings=["ctr_ad"])
    with pytest.raises(ConfigError, match="is after its last"):
        load(3, 2, log="visits")


def test_broken_off_half_way_it_leaves_no_file(done, tmp_path, monkeypatch) -> None:
    made = TrainingSet.load(done, day(0), day(3), log="impressions")
    whole = TrainingSet.day
    monkeypatch.setattr(
        TrainingSet, "day", lambda self, of: 1 / 0 if of == day(2) else whole(self, of)
    )
    with pytest.raises(ZeroDivisionError):
        made.write(tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []
    script = (
        "import datetime as dt, os, signal, sys\nfrom headwater.exports.training_set import"
        f" TrainingSet\nmade = TrainingSet.load({str(done)!r}, dt.date({day(0):%Y, %-m, %-d}),"
        f" dt.date({day(3):%Y, %-m, %-d}), log='impressions', features=False)\nwhole ="
        " TrainingSet.day\nTrainingSet.day = lambda self, of: os.kill(os.getpid(), signal.SIGKILL)"
        f" if of == dt.date({day(2):%Y, %-m, %-d}) else whole(self,"
        f" of)\nmade.write({str(tmp_path / 'rows.parquet')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert not (tmp_path / "rows.parquet").exists()


def test_the_command_writes_the_file_and_says_what_is_in_it(done, written, tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "headwater.cli.main",
        "training-set",
        "--factory",
        done,
        "--out",
        tmp_path / "rows.parquet",
        "--of",
        "impressions",
    ]
    asked = subprocess.run(
        [*map(str, command), "--from", str(day(0)), "--to", str(day(3)), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["rows"] == pq.read_metadata(written).num_rows
    assert (tmp_path / "rows.parquet").read_bytes() == written.read_bytes()
    wrong = subprocess.run(
        [*map(str, command), "--from", str(day(0)), "--to", str(day(9))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert str(day(9)) in wrong.stderr


def test_each_row_has_the_key_of_its_group(done, rows) -> None:
    """By default, that of its user and time; as the judged file of its day has it."""
    made = TrainingSet.load(done, day(0), day(3), log="impressions")
    assert json.loads(made.schema.metadata[b"headwater"])["group"] == "user_time"
    assert rows["group_key"].dtype == pl.UInt64
    pages = rows.select("user_id", "time").unique().height
    assert rows.select("group_key").unique().height == pages
    assert rows.select("user_id", "time", "group_key").unique().height == pages
    judged = pl.read_parquet(Factory.load(done).workspace.layout.judged("ctr", day(2)))
    ours = rows.filter(pl.col("day") == day(2))
    assert sorted(judged["group"].to_list()) == sorted(ours["group_key"].to_list())


def test_a_log_without_users_has_no_groups(done) -> None:
    made = TrainingSet.load(done, day(2), day(2), log="purchases", embeddings=[])
    assert "group_key" not in made.schema.names
    assert len(made.reader().read_all()) > 0


# ---- on a warehouse published by hand ------------------------------------------------------------


class Feed:
    """A shop whose users `u` met items `i`: `events` are (day, user, item, click)."""

    def __init__(
        self,
        root: Path,
        policy: dict[str, Any] | None = None,
        raw: dict[str, Any] | None = None,
        **lifecycle: Any,
    ) -> None:
        self.shop = Shop(root, policy, **lifecycle)
        self.root, self.raw = (
            root,
            self.shop.config.model_dump(mode="json", exclude_unset=True) | (raw or {}),
        )

    def log(self, *events: tuple[int, Any, Any, int], **columns: list[Any]) -> None:
        noon = [
            int(dt.datetime.combine(after(n), dt.time(12), dt.UTC).timestamp()) * 1000 + place
            for place, (n, *_) in enumerate(events)
        ]
        users, items, clicks = ([event[place] for event in events] for place in (1, 2, 3))
        pl.DataFrame({"t": noon, "u": users, "i": items, "c": clicks, **columns}).write_parquet(
            self.root / "feed.parquet"
        )

    def rows(self, start: int, end: int, *embeddings: str) -> TrainingSet:
        return TrainingSet(
            Workspace.of(parse_config(self.raw), self.root),
            after(start),
            after(end),
            Wanted("feed", embeddings or ("ctr_user",), True, "none"),
        )

    def read(self, start: int, end: int, *embeddings: str) -> list[dict[str, Any]]:
        return self.rows(start, end, *embeddings).reader().read_all().to_pylist()


def test_a_vector_is_carried_forward_and_expires(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"}, expire_days=2)
    for n in range(6):
        feed.shop.publish(
            after(n),
            [
                (
                    vectors_of([7], [[1, 2]], after(n))
                    if n == 0
                    else vectors_of([9], [[3, 4]], after(n))
                )
            ],
        )
    feed.log(*((n, 7, 1, 0) for n in range(6)))
    found = feed.read(0, 5)
    assert [row["ctr_user_age_days"] for row in found] == [
        None,
        1,
        2,
        3,
        None,
        None,
    ]  # the edition of day 3 drops what was last seen on day 0
    assert [row["ctr_user"] for row in found] == [
        [None, None],
        *[[1.0, 2.0]] * 3,
        *[[None, None]] * 2,
    ]
    assert [row["edition"] for row in found] == [None, *(after(n) for n in range(5))]


def test_with_a_longer_lag_rows_read_older_editions(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"}, lag_days=3)
    for n in range(5):
        feed.shop.publish(after(n), [vectors_of([7], [[n, n]], after(n))])
    feed.log(*((n, 7, 1, 0) for n in range(5)))
    assert [row["ctr_user"][0] for row in feed.read(0, 4)] == [None, None, None, 0.0, 1.0]


def test_sequences_are_lists_of_vectors_newest_first(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "last", "k": 2})
    for n in range(4):
        feed.shop.publish(after(n), [vectors_of([7], [[n + 1, 0]], after(n))])
    feed.log(*((n, user, 1, 0) for n in range(4) for user in (7, 8)))
    made = feed.rows(0, 3)
    assert made.schema.field("ctr_user").type == pa.list_(pa.list_(pa.float32(), 2))
    made.write(tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["ctr_user"] for row in found if row["u"] == 7] == [
        None,
        [[1, 0]],
        [[2, 0], [1, 0]],
        [[3, 0], [2, 0]],
    ]
    assert [row["ctr_user"] for row in found if row["u"] == 8] == [None] * 4


def test_rows_from_before_a_lane_was_turned_read_nothing(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"})
    for n in range(4):
        feed.shop.publish(after(n), [vectors_of([7], [[n, n]], after(n))])
    catalog = catalog_at(tmp_path)
    days = tuple(
        replace(entry, aligned="turned") if entry.day == after(1) else entry
        for entry in catalog.lane(MAIN).days
    )
    put_catalog(tmp_path, catalog.with_lane(MAIN, Lane(days)))
    feed.log(*((n, 7, 1, 0) for n in range(4)))
    assert [row["edition"] for row in feed.read(0, 3)] == [None, None, after(1), after(2)]


def test_two_spaces_do_not_meet_in_one_column(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"})
    editions = [
        feed.shop.publish(after(n), [vectors_of([7], [[n, n]], after(n))]) for n in range(4)
    ]
    manifest = editions[2].folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("a" * 32, "b" * 32))
    feed.log(*((n, 7, 1, 0) for n in range(4)))
    with pytest.raises(
        SpaceMismatch,
        match="ctr_user: the rows would read 2 spaces: ctr@aaaaaaaaaaaa/2 .* ctr@bbbbbbbbbbbb/2",
    ):
        feed.rows(0, 3).write(tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    assert len(feed.read(0, 2)) == 3  # these days read the first two editions only


def test_the_erased_are_passed_over(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"})
    for n in range(2):
        feed.shop.publish(after(n), [vectors_of([7, 8], [[1, 1], [2, 2]], after(n))])
    feed.log(*((n, user, 1, 0) for n in range(2) for user in (7, 8)))
    erase(feed.shop.workspace, "user", [7])
    assert [(row["u"], row["ctr_user"]) for row in feed.read(0, 1)] == [
        (8, [None, None]),
        (8, [2.0, 2.0]),
    ]


def test_an_edition_that_is_compacted_meanwhile_is_followed_and_a_replaced_one_is_not(
    tmp_path,
) -> None:
    feed = Feed(tmp_path, {"kind": "latest"})
    for n in range(3):
        feed.shop.publish(after(n), [vectors_of([7 + n], [[n, n]], after(n))])
    feed.log((2, 7, 1, 0), (2, 8, 1, 0))
    keys = np.array([key_of(8)], np.uint64)
    made, late = feed.rows(2, 2), feed.rows(2, 2)
    for catalogued in (made, late):
        assert catalogued.spaces
    entry = catalog_at(tmp_path).lane(MAIN).days[1]
    put_catalog(
        tmp_path,
        catalog_at(tmp_path).with_lane(MAIN, Lane(catalog_at(tmp_path).lane(MAIN).days[:2])),
    )
    compact_where_due(feed.shop.workspace, MAIN, always=True)
    retire(feed.shop.workspace)
    assert not (tmp_path / str(entry.folder)).exists()
    vector, found, age = made.vectors("ctr_user", keys, after(2))
    assert (vector.to_pylist(), found.to_pylist(), age.to_pylist()) == ([[1.0, 1.0]], [True], [1.0])
    lane = catalog_at(tmp_path).lane(MAIN)
    put_catalog(
        tmp_path,
        catalog_at(tmp_path).with_lane(
            MAIN, Lane((lane.days[0], replace(lane.days[1], digest="0" * 32)))
        ),
    )
    with pytest.raises(
        StoreError, match=rf"the edition of {after(1)} was replaced, withdrawn or cleaned"
    ):
        late.vectors("ctr_user", keys, after(2))


def test_days_whose_editions_went_are_named_and_an_unfinished_replay_is_refused(tmp_path) -> None:
    feed = Feed(tmp_path, {"kind": "latest"})
    for n in range(5):
        feed.shop.publish(after(n), [vectors_of([7], [[n, n]], after(n))])
    feed.log(*((n, 7, 1, 0) for n in range(5)))
    lane = catalog_at(tmp_path).lane(MAIN)
    kept = Lane(
        tuple(replace(entry, folder=None) if entry.day < after(2) else entry for entry in lane.days)
    )
    put_catalog(tmp_path, catalog_at(tmp_path).with_lane(MAIN, kept))
    with pytest.raises(
        EditionMissing,
        match=rf"{after(1)}, {after(2)}: what was served on these days was removed by retention",
    ):
        feed.rows(0, 4)
    assert [row["ctr_user"][0] for row in feed.read(3, 4)] == [2.0, 3.0]
    (tmp_path / "replay.json").write_text("[]")
    with pytest.raises(StoreError, match="a replay of the lane 'main' was not finished"):
        feed.rows(3, 4)


def test_a_feature_with_one_of_our_names_gets_its_logs_name(tmp_path) -> None:
    logs = {
        "feed": (
            RAW["logs"]["feed"]
            | {
                "features": {
                    "click": "numeric",
                    "day": "categorical",
                    "t": "timestamp",
                    "tags": "multi_categorical",
                }
            }
        )
    }
    feed = Feed(tmp_path, raw={"logs": logs})
    feed.shop.publish(after(0), [vectors_of([7], [[1, 1]])])
    feed.log((0, 7, 1, 1), (0, 8, 2, 0), click=[0.5, None], day=["mon", "tue"], tags=["a, b", None])
    first, second = feed.read(0, 0)
    assert (
        first["click"],
        first["feed.click"],
        first["feed.day"],
        first["day"],
        first["tags"],
    ) == (1.0, 0.5, "mon", after(0), ["a", "b"])
    assert (second["feed.click"], second["tags"]) == (None, None)
    assert "t" not in first  # it is `time`


# ---- for models that are not ours ----------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_lightgbm_learns_from_served_vectors_and_not_from_those_of_the_day(tmp_path, known) -> None:
    """Users have a taste that their vectors tell. Where taste is drawn anew each day (`known` is
    false), only the vector of the same day, which no row may read, would tell it.
    """
    lightgbm = pytest.importorskip(
        "lightgbm",
        reason="LightGBM is not installed (it is in the extra `dev`)",
        exc_type=ImportError,
    )
    from sklearn.metrics import roc_auc_score

    generator = np.random.default_rng(0)
    feed, users, events = Feed(tmp_path, {"kind": "latest"}), list(range(60)), []
    taste = generator.integers(0, 2, len(users))
    for n in range(5):
        taste = taste if known else generator.integers(0, 2, len(users))
        events += [
            (n, user, 1, int(generator.random() < (0.9 if taste[user] else 0.1)))
            for user in users
            for _ in range(8)
        ]
        feed.shop.publish(
            after(n),
            [
                vectors_of(
                    users,
                    np.stack([taste, 1 - taste], axis=1) + generator.normal(0, 0.1, (60, 2)),
                    after(n),
                )
            ],
        )
    feed.log(*events)
    feed.rows(0, 4).write(tmp_path / "rows.parquet")
    table = pq.read_table(tmp_path / "rows.parquet")
    vectors = (
        table["ctr_user"]
        .combine_chunks()
        .flatten()
        .to_numpy(zero_copy_only=False)
        .reshape(len(table), 2)
    )
    noise, late = (
        generator.random((len(table), 1)),
        (table["day"].to_numpy() == np.datetime64(after(4))),
    )
    aucs = []
    for inputs in (noise, np.hstack([noise, vectors])):
        model = lightgbm.train(
            {
                "objective": "binary",
                "verbosity": -1,
                "num_threads": 1,
                "min_data_in_leaf": 20,
                "seed": 0,
            },
            lightgbm.Dataset(inputs[~late], table["click"].to_numpy()[~late]),
            num_boost_round=20,
        )
        aucs.append(roc_auc_score(table["click"].to_numpy()[late], model.predict(inputs[late])))
    assert abs(aucs[0] - 0.5) < 0.1
    assert aucs[1] > 0.8 if known else abs(aucs[1] - 0.5) < 0.1


def test_torch_reads_the_same_rows_with_and_without_workers(done) -> None:
    import torch

    from headwater.exports.torch_rows import TrainingRows

    made = TrainingSet.load(done, day(0), day(2), log="impressions")
    plain = list(TrainingRows(made, 100))
    table = made.reader().read_all()
    for name in ("time", "click", "conversion", "user.history.log1p_events"):
        ours = table[name].cast(pa.int64() if name == "time" else pa.float32()).to_numpy()
        assert torch.equal(
            torch.cat([batch[name] for batch in plain]).nan_to_num(-1),
            torch.from_numpy(np.array(ours)).nan_to_num(-1),
        )
    vectors = (
        table["ctr_item"]
        .combine_chunks()
        .flatten()
        .to_numpy(zero_copy_only=False)
        .reshape(len(table), -1)
    )
    assert torch.equal(
        torch.cat([batch["ctr_item"] for batch in plain]), torch.from_numpy(np.nan_to_num(vectors))
    )
    examples = Factory.load(done).run.reader.events.read("impressions", day(0), (), day(0))
    first = {
        name: torch.cat([batch[name] for batch in plain])[: len(examples)]
        for name in ("surface", "user.age", "item.price", "user_id")
    }
    assert first["surface"].tolist() == examples.context.categorical_NC[:, 0].tolist()
    assert first["user.age"].tolist() == examples.entities["user"].categorical_NC[:, 0].tolist()
    assert first["item.price"].tolist() == examples.entities["item"].numeric_NF[:, 0].tolist()
    assert first["user_id"].numpy().view(np.uint64).tolist() == examples.keys["user"].tolist()
    groups = torch.cat([batch["group_key"] for batch in plain])
    assert groups.numpy().view(np.uint64).tolist() == table["group_key"].to_pylist()

    shuffled = TrainingRows(made, 100, seed=3)
    once, again, by_workers = (
        [batch["time"] for batch in batches]
        for batches in (shuffled, shuffled.loader(0), shuffled.loader(2))
    )
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    assert not torch.equal(torch.cat(once), torch.cat([batch["time"] for batch in plain]))
    assert torch.equal(torch.cat(once).sort().values, torch.cat(by_workers).sort().values)
    by_day = {int(batch["day"][0]): batch["day"].unique().numel() for batch in plain}
    assert list(by_day.values()) == [1, 1, 1]
    one_day = [times for times in by_workers if any(torch.equal(times, other) for other in once)]
    assert len(one_day) == len(
        once
    )  # a worker takes whole days, and shuffles them as they are shuffled without it


def test_torch_pads_sequences(tmp_path) -> None:
    from headwater.exports.torch_rows import TrainingRows

    feed = Feed(tmp_path, {"kind": "last", "k": 3})
    for n in range(3):
        feed.shop.publish(after(n), [vectors_of([7], [[n + 1, 0]], after(n))])
    feed.log((2, 7, 1, 0), (2, 8, 1, 1))
    (batch,) = TrainingRows(feed.rows(2, 2))
    assert batch["ctr_user"].tolist() == [[[2, 0], [1, 0], [0, 0]], [[0, 0]] * 3]
    assert (batch["ctr_user_steps"].tolist(), batch["ctr_user_found"].tolist()) == (
        [2, 0],
        [True, False],
    )


def test_a_set_that_was_not_loaded_says_why_it_cannot_be_sent_to_a_worker(tmp_path) -> None:
    import pickle

    feed = Feed(tmp_path)
    feed.shop.publish(
        after(0), [vectors_of([7], [[1, 1]]), vectors_of([1], [[1, 1]], entity="item")]
    )
    feed.log((0, 7, 1, 0))
    with pytest.raises(TypeError, match="loaded from a factory.yaml"):
        pickle.dumps(feed.rows(0, 0))
    (tmp_path / "factory.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(feed.raw))))
    made = TrainingSet.load(tmp_path / "factory.yaml", after(0), after(0))
    assert pickle.loads(pickle.dumps(made)).schema == made.schema
    assert made.spaces["ctr_user"] == space_of()
