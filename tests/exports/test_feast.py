"""The Feast repository: the newest row before a moment is what was served then, and Feast finds it,
bit for bit.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import yaml

from at import catalog_at, edition_at
from headwater.config import parse_config
from headwater.embeddings.snapshot import Basis, day_number
from headwater.errors import EditionMissing, SpaceMismatch, StoreError
from headwater.exports.feast import export_feast
from headwater.ids import key_of
from headwater.lifecycle.timeline import Timeline
from headwater.store import MAIN
from shop import RAW, Shop, space_of, vectors_of

ROOT = Path(__file__).parent.parent.parent
ZONE = ZoneInfo("Europe/Berlin")
FIRST = dt.date(2025, 3, 26)  # summer time begins on the 30th, which has 23 hours
USERS, ITEMS = list(range(1, 13)), ["a", "b", "c"]
DAYS = (0, 1, 2, 3, 5, 6, 7, 9)  # two days are never run
ASK = """
import os, sys
os.environ["FEAST_USAGE"] = "False"
import warnings
warnings.simplefilter("ignore")
import pandas as pd
from feast import FeatureStore
from feast.cli.cli import cli
repo, rows, out = sys.argv[1:]
cli(["-c", repo, "apply"], standalone_mode=False)
names = ["ctr_user", "ctr_item"]
features = [f"{name}:{name}" for name in names]
features += [f"{name}_freshness:{name}_age_days" for name in names]
asked = pd.read_parquet(rows)
found = FeatureStore(repo).get_historical_features(entity_df=asked, features=features)
found.to_df().to_parquet(out)
"""


def later(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    """Users seen on some days only, an expiry of three days, a time zone whose days are not all of
    24 hours, and days without an edition.
    """
    root = tmp_path_factory.mktemp("shop")
    made = Shop(root, {"kind": "ema"}, expire_days=3)
    raw = RAW | {
        "time_zone": ZONE.key,
        "warehouse": str(root),
        "lifecycle": {"policy": {"kind": "ema"}, "expire_days": 3},
        "store": {"bucket_rows": 4},
    }
    (root / "factory.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(raw))))
    made.config = parse_config(raw)
    generator = np.random.default_rng(1)
    for n in DAYS:
        seen = [
            user
            for user in USERS
            if (user % 4 == 0 or (user + n) % 5 == 0) and not (user == 12 and n > 1)
        ]
        made.publish(
            later(n),
            [
                vectors_of(seen, generator.normal(size=(len(seen), 4)), later(n)),
                vectors_of(
                    ITEMS[: 1 + n % 3], generator.normal(size=(1 + n % 3, 4)), later(n), "item"
                ),
            ],
        )
    return made


@pytest.fixture(scope="module")
def repo(shop, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("feast") / "repo"
    found = export_feast(shop.root / "factory.yaml", out).as_json()
    assert (found["first_day"], found["last_day"]) == (str(later(0)), str(later(9)))
    return out


def moments() -> list[dt.datetime]:
    """The first, a middle and the last microsecond of every local day, from before the first
    edition to long after the last.
    """
    midnights = [
        dt.datetime.combine(later(n), dt.time(), ZONE).astimezone(dt.UTC) for n in range(-1, 18)
    ]
    return [
        moment + shift
        for moment in midnights
        for shift in (dt.timedelta(microseconds=-1), dt.timedelta(0), dt.timedelta(hours=11))
    ]


def served(
    shop: Shop, name: str, value: int | str, moment: dt.datetime
) -> tuple[bytes | None, float | None]:
    """The slow twin: the newest edition that was published a day before, asked for one entity."""
    day = moment.astimezone(ZONE).date()
    entries = [entry for entry in catalog_at(shop.root).lane(MAIN).days if entry.day < day]
    if not entries:
        return None, None
    found = edition_at(shop.root, entries[-1]).lookup(
        name, np.array([key_of(value)], np.uint64), day
    )
    return (
        (found.vectors_ND[0].tobytes(), float(found.age_days_N[0]))
        if found.found_N[0]
        else (None, None)
    )


def newest_before(file: Path, key: str, moment: dt.datetime, value: int | str) -> dict:
    rows = pl.read_parquet(file).filter(
        (pl.col(key) == value) & (pl.col("event_timestamp") <= moment)
    )
    return rows.sort("event_timestamp").row(-1, named=True)


def test_a_vector_of_content_was_last_seen_never(tmp_path) -> None:
    made = Shop(tmp_path / "shop", {"kind": "latest"})
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "factory.yaml").write_text(
        yaml.safe_dump(json.loads(json.dumps(RAW | {"warehouse": str(tmp_path / "shop")})))
    )
    both = vectors_of(["a", "b"], np.eye(2), later(0), "item", space_of(opened=later(0)))
    marks = {"a": Basis.SEEN, "b": Basis.CONTENT}
    basis = np.array([marks[value] for value in both.ids], np.uint8)
    made.publish(
        later(0),
        [replace(both, basis_N=basis), vectors_of([1], [[1, 0]], later(0), space=both.space)],
    )
    export_feast(tmp_path / "shop" / "factory.yaml", tmp_path / "out")
    rows = pl.read_parquet(tmp_path / "out" / "data" / "ctr_item.parquet").drop_nulls("ctr_item")
    assert dict(rows.select("i", pl.col("ctr_item_last_seen").is_null()).iter_rows()) == {
        "a": False,
        "b": True,
    }


def test_the_newest_row_before_a_moment_is_what_was_served(shop, repo) -> None:
    answers = set()
    for name, key, values in (("ctr_user", "u", USERS), ("ctr_item", "i", ITEMS)):
        for moment in moments()[::2]:
            for value in values:
                row = newest_before(repo / "data" / f"{name}.parquet", key, moment, value)
                vector, age = served(shop, name, value, moment)
                assert (row[name] and np.array(row[name], np.float32).tobytes()) == vector, (
                    name,
                    value,
                    moment,
                )
                if vector is not None:
                    seen = row[f"{name}_last_seen"].astimezone(ZONE).date()
                    assert (moment.astimezone(ZONE).date() - seen).days == age
                answers.add((vector is None, moment > moments()[20]))
    assert len(answers) == 4  # some found and some not, early and late


def test_a_row_is_written_only_where_a_vector_changed(shop, repo) -> None:
    rows = pl.read_parquet(repo / "data" / "ctr_user.parquet")
    timeline = Timeline(shop.workspace)
    fresh = 0
    for entry in timeline.chain.days:
        fresh += int(
            (timeline.open(entry).part("ctr_user").column("seen") == day_number(entry.day)).sum()
        )
    assert rows["ctr_user"].is_not_null().sum() == fresh
    changes = rows.drop_nulls("ctr_user").sort("u", "event_timestamp")
    assert changes.select("u", "event_timestamp").is_duplicated().sum() == 0
    assert sorted(
        rows.filter(pl.col("event_timestamp") == dt.datetime(1970, 1, 1, tzinfo=dt.UTC))[
            "u"
        ].unique()
    ) == sorted(changes["u"].unique())


def test_an_export_from_a_later_day_answers_alike_from_then_on(shop, repo, tmp_path) -> None:
    out = tmp_path / "later"
    export_feast(shop.root / "factory.yaml", out, later(3), later(7))
    first = dt.datetime.combine(later(4), dt.time(), ZONE)
    for user in USERS:
        for moment in moments():
            if moment.astimezone(ZONE).date() <= later(8):
                rows = pl.read_parquet(out / "data" / "ctr_user.parquet").filter(
                    (pl.col("u") == user) & (pl.col("event_timestamp") <= moment)
                )
                vector = (
                    rows.sort("event_timestamp")["ctr_user"].to_list()[-1] if len(rows) else None
                )
                expected = served(shop, "ctr_user", user, moment)[0] if moment >= first else None
                assert (vector and np.array(vector, np.float32).tobytes()) == expected


def test_sequences_lie_end_to_end(tmp_path) -> None:
    shop = Shop(tmp_path / "w", {"kind": "last", "k": 2})
    raw = RAW | {
        "warehouse": str(tmp_path / "w"),
        "lifecycle": {"policy": {"kind": "last", "k": 2}},
    }
    (tmp_path / "factory.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(raw))))
    for n in range(3):
        shop.publish(later(n), [vectors_of([7], [[n + 1, 0]], later(n))])
    export_feast(tmp_path / "factory.yaml", tmp_path / "repo")
    rows = pl.read_parquet(tmp_path / "repo" / "data" / "ctr_user.parquet").sort("event_timestamp")
    assert rows["ctr_user"].to_list() == [None, [1, 0], [2, 0, 1, 0], [3, 0, 2, 0]]
    assert "entities=[user]" in (tmp_path / "repo" / "features.py").read_text()
    assert not (tmp_path / "repo" / "data" / "ctr_item.parquet").exists()


def test_what_cannot_be_exported_leaves_no_folder(shop, tmp_path) -> None:
    with pytest.raises(
        EditionMissing,
        match=f"no edition from {later(20)} to the end; kept are {later(0)} to {later(9)}",
    ):
        export_feast(shop.root / "factory.yaml", tmp_path / "repo", later(20))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(StoreError, match="not empty"):
        export_feast(shop.root / "factory.yaml", tmp_path / "mine")
    other = Shop(tmp_path / "w", {"kind": "latest"})
    (tmp_path / "factory.yaml").write_text(
        yaml.safe_dump(json.loads(json.dumps(RAW | {"warehouse": str(tmp_path / "w")})))
    )
    editions = [other.publish(later(n), [vectors_of([7], [[1, n]], later(n))]) for n in range(2)]
    manifest = editions[1].folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("a" * 32, "b" * 32))
    with pytest.raises(SpaceMismatch, match="2 spaces"):
        export_feast(tmp_path / "factory.yaml", tmp_path / "repo")
    assert not (tmp_path / "repo").exists()


def test_the_command_writes_the_same_repository(shop, repo, tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "headwater.cli.main",
        "export",
        "feast",
        "--factory",
        shop.root / "factory.yaml",
        "--out",
        tmp_path / "repo",
        "--json",
    ]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["embeddings"]) == {"ctr_user", "ctr_item"}
    for file in (
        "features.py",
        "feature_store.yaml",
        "data/ctr_user.parquet",
        "data/ctr_item.parquet",
    ):
        assert (tmp_path / "repo" / file).read_bytes() == (repo / file).read_bytes()


def feast_python() -> str:
    """The Python that has Feast: this one, or that of benchmarks/peers/feast_env.sh."""
    if importlib.util.find_spec("feast") is not None:
        return sys.executable
    apart = ROOT / ".venv-feast" / "bin" / "python"
    if not apart.is_file():
        pytest.skip("Feast is not installed: pip install -c constraints.txt -e '.[feast]'")
    return str(apart)


def test_feast_applies_the_repository_and_joins_what_was_served(shop, repo, tmp_path) -> None:
    python = feast_python()
    asked = [(user, ITEMS[user % 3], moment) for moment in moments() for user in (*USERS, 99)]
    rows = pl.DataFrame(
        {
            "u": [row[0] for row in asked],
            "i": [row[1] for row in asked],
            "event_timestamp": [row[2] for row in asked],
            "row": range(len(asked)),
        }
    )
    rows.with_columns(request_time=pl.col("event_timestamp")).write_parquet(
        tmp_path / "rows.parquet"
    )
    command = [
        python,
        "-c",
        ASK,
        str(repo),
        str(tmp_path / "rows.parquet"),
        str(tmp_path / "answers.parquet"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = pl.read_parquet(tmp_path / "answers.parquet").sort("row")
    assert answers["row"].to_list() == list(range(len(asked)))  # no row is dropped
    found = 0
    for (user, item, moment), answer in zip(asked, answers.iter_rows(named=True), strict=True):
        for name, value in (("ctr_user", user), ("ctr_item", item)):
            vector, age = served(shop, name, value, moment)
            assert (
                None if answer[name] is None else np.array(answer[name], np.float32).tobytes()
            ) == vector, (name, value, moment)
            freshness = answer[f"{name}_age_days"]
            assert (None if freshness is None or np.isnan(freshness) else freshness) == age
            found += vector is not None
    assert 0.3 < found / (2 * len(asked)) < 0.95
