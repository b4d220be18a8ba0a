"""KuaiRand's rows as one set of arrays for all: point-in-time features read once by ExampleReader,
then flattened for those who cannot read them.

Shape suffixes: N rows, C categorical columns, F numbers, K tags, L events of a history (newest
first).
"""

from __future__ import annotations

import datetime as dt
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import FactoryConfig
from headwater.events import ExampleReader, Examples
from headwater.recipes import RECIPES
from headwater.workspace import Workspace

FIRST, VALIDATE, TEST = dt.date(2022, 4, 25), dt.date(2022, 5, 7), dt.date(2022, 5, 8)
PAIRS = ["id", "author_id", "tag"]
LENGTH = 30
BUCKETS = 1 << 15
TASK = "click"


def workspace_of(data: Path, upstream: dict[str, Any], warehouse: Path) -> Workspace:
    """The recipe's workspace with pair features and one upstream, `ctr`, of these settings."""
    config = RECIPES["kuairand"].config(data, data) | {
        "warehouse": str(warehouse),
        "downstream": {},
    }
    config["histories"]["user"] |= {"pairs": PAIRS, "length": LENGTH}
    for entity in config["entities"].values():
        entity["features"] = {
            name: _without_collisions(kind) for name, kind in entity["features"].items()
        }
    config["upstreams"] = {"ctr": {"tasks": [TASK]} | upstream}
    return Workspace.of(FactoryConfig.model_validate(config), data)


def _without_collisions(kind: Any) -> Any:
    """Label encoders give every value a slot of its own, so hashed features get room here for
    nearly that.
    """
    alone = kind if isinstance(kind, str) else kind["kind"]
    return {"kind": "categorical", "buckets": BUCKETS} if alone == "categorical" else kind


def read_days(data: Path) -> list[Examples]:
    """Every day's rows with features and histories as of each row."""
    with tempfile.TemporaryDirectory() as warehouse:
        reader = workspace_of(data, {}, Path(warehouse)).events()
        days = (FIRST + dt.timedelta(days=n) for n in range((TEST - FIRST).days + 1))
        return [reader.read("feed", day, (TASK,), day) for day in days]


def flattened(days: list[Examples], reader: ExampleReader) -> dict[str, np.ndarray]:
    """The same rows as dense label-encoded columns (0: missing or padding), numbers as they are
    (NaN: missing), and histories.
    """
    user, item = (
        np.concatenate([rows.keys[entity] for rows in days]) for entity in ("user", "item")
    )
    past = np.concatenate([rows.histories["user"].keys_NL for rows in days])
    actions = np.concatenate([rows.histories["user"].actions_NL for rows in days])
    videos, authors = _authors(
        reader, np.unique(np.concatenate([item, past.ravel(), np.zeros(1, np.uint64)]))
    )
    blocks = [(rows.entities["user"], rows.entities["item"], rows.context) for rows in days]
    categorical = [
        np.concatenate(parts)
        for parts in zip(*[[block.categorical_NC for block in of] for of in blocks], strict=True)
    ]
    categorical[1] = categorical[1][
        :, 1:
    ]  # an item's first is its author, whom we number together with those in histories
    columns = [
        _encoded(user)[:, None],
        np.searchsorted(videos, item)[:, None],
        authors[np.searchsorted(videos, item)][:, None],
    ]
    columns += [_encoded(column)[:, None] for part in categorical for column in part.T]
    numbers = [
        np.hstack([*(block.numeric_NF for block in of), rows.counters["full"]])
        for of, rows in zip(blocks, days, strict=True)
    ]
    hist_NL = np.searchsorted(videos, past)
    return {
        "day_N": np.concatenate([np.full(len(rows), rows.day.toordinal()) for rows in days]),
        "user_N": user,
        "label_N": np.concatenate([rows.labels[TASK] for rows in days]),
        "sparse_NC": np.hstack(columns).astype(np.int32),
        "tags_NK": _encoded(np.concatenate([of[1].multi_NK[0] for of in blocks])),
        "numbers_NF": np.concatenate(numbers).astype(np.float32),
        "videos_NL": hist_NL.astype(np.int32),
        "authors_NL": authors[hist_NL].astype(np.int32),
        "actions_NL": np.where(past == 0, 0, actions + 1).astype(np.int32),
    }


def _authors(reader: ExampleReader, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys, and the number of each one's author; key 0 (none) has author 0."""
    of_keys = reader.table("item").codes("author_id", keys)[:, 0]
    return keys, np.where(keys == 0, 0, _encoded(of_keys))


def _encoded(values: np.ndarray) -> np.ndarray:
    """Distinct values but 0 as 1, 2, ...; 0 stays."""
    distinct = np.union1d(values, np.zeros(1, values.dtype))
    places = np.searchsorted(distinct, values)
    zero = int(np.searchsorted(distinct, 0))
    return np.where(places == zero, 0, np.where(places < zero, places + 1, places)).astype(np.int32)


def prepare(data: Path, folder: Path) -> None:
    """Write `examples.pickle` (for ours) and `arrays/*.npy` (for all others) once."""
    if (folder / "done").exists():
        return
    (folder / "arrays").mkdir(parents=True, exist_ok=True)
    days = read_days(data)
    with tempfile.TemporaryDirectory() as warehouse:
        arrays = flattened(days, workspace_of(data, {}, Path(warehouse)).events())
    for name, values in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", values)
    with (folder / "examples.pickle").open("wb") as out:
        pickle.dump(days, out, protocol=5)
    (folder / "done").touch()
