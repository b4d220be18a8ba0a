"""Headwater's own merge, through the store as the pipeline calls it: what today changed is written,
the index is written whole.
"""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.peers.data import EXPIRE_DAYS, TODAY, Rows
from benchmarks.peers.merging import Merge
from headwater.config import EmaPolicy, LifecycleConfig, StoreConfig
from headwater.embeddings import Space
from headwater.files import write_json
from headwater.store import Composed, Edition, EditionStore
from headwater.store.merge import new_index
from headwater.store.segments import new_segment

DAY = dt.date(1970, 1, 1) + dt.timedelta(days=TODAY)
LIFECYCLE = LifecycleConfig(policy=EmaPolicy(weight=0.8), expire_days=EXPIRE_DAYS)
STORE = StoreConfig()
NAME = "ctr_user"


class Headwater(Merge):
    """One day: a delta. Every `compact_after` days a compaction is added
    (`HeadwaterCompacting`).
    """

    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        store, space = (
            EditionStore(root / "in"),
            Space("ctr", "bench", before.width, DAY - dt.timedelta(days=100)),
        )
        edition = store.home / "editions" / str(DAY - dt.timedelta(days=1)) / "first"
        edition.mkdir(parents=True)
        with (
            new_segment(store.home / "segments" / NAME / "first", before.width, True) as segment,
            new_index(edition / NAME) as index,
        ):
            for part in before.parts():
                places = np.arange(segment.rows, segment.rows + len(part)).astype(np.uint32)
                index.append(part.keys_N, part.seen_N, np.zeros(len(part), np.uint8), places)
                segment.append(
                    part.keys_N,
                    part.vectors_ND,
                    np.ones(len(part), np.uint8),
                    part.seen_N,
                    pl.Series(part.keys_N.view(np.int64)),
                )
        rule = {
            "policy": LIFECYCLE.policy.model_dump(mode="json"),
            "expire_days": EXPIRE_DAYS,
            "encoding": "float32",
            "models": {},
            "daily": None,
        }
        entry = {
            "entity": "user",
            "digest": "first",
            "space": space.as_json(),
            "segments": ["first"],
            "rows": len(before),
        }
        write_json(
            edition / "manifest.json",
            {
                "day": str(DAY - dt.timedelta(days=1)),
                "digest": "first",
                "rotations": {},
                "snapshots": {NAME: entry},
            }
            | rule,
        )
        folder = store.daily_folder(DAY, "today")
        folder.mkdir(parents=True)
        with new_segment(folder / NAME, today.width, True) as segment:
            for part in today.parts():
                seen = np.full(len(part), TODAY, np.int32)
                segment.append(
                    part.keys_N,
                    part.vectors_ND,
                    np.ones(len(part), np.uint8),
                    seen,
                    pl.Series(part.keys_N.view(np.int64)),
                )
        write_json(
            folder / "daily.json",
            {"day": str(DAY), "snapshots": {NAME: {"entity": "user", "space": space.as_json()}}},
        )

    def rewind(self, root: Path) -> None:
        shutil.rmtree(root / "in" / "editions" / str(DAY), ignore_errors=True)
        for folder in (root / "in" / "segments" / NAME).iterdir():
            if folder.name != "first":
                shutil.rmtree(folder)

    def compose(self, root: Path) -> Composed:
        store = EditionStore(root / "in")
        before = Edition.load(store.home / "editions" / str(DAY - dt.timedelta(days=1)) / "first")
        daily = store.daily(DAY, "today")
        assert daily is not None
        return store.compose(DAY, before, daily, LIFECYCLE, STORE, {})

    def merge(self, root: Path) -> None:
        self.compose(root)

    def read_back(self, root: Path) -> Rows:
        folder = next(
            path.parent for path in (root / "in" / "editions" / str(DAY)).glob("*/manifest.json")
        )
        part = Edition.load(folder).part(NAME)
        states, _ = part.gather(np.arange(part.rows))
        return Rows(np.array(part.keys), states, np.array(part.column("seen")))


class HeadwaterCompacting(Headwater):
    """The day on which a compaction is due: the delta, then everything into one segment."""

    def merge(self, root: Path) -> None:
        edition = self.compose(root).edition
        EditionStore(root / "in").compact(edition, STORE.bucket_rows)
