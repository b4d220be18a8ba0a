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
from headwater.blobs import Layout
from headwater.config import EmaPolicy
from headwater.embeddings import Space
from headwater.files import write_json
from headwater.store import Composed, Edition, MergeRule, Provenance, compose, read_daily
from headwater.store.merge import new_index
from headwater.store.rewrite import compact
from headwater.store.segments import new_segment

DAY = dt.date(1970, 1, 1) + dt.timedelta(days=TODAY)
YESTERDAY = DAY - dt.timedelta(days=1)
RULE = MergeRule(EmaPolicy(weight=0.8), EXPIRE_DAYS, "float32", 32_768)
NAME = "ctr_user"


class Headwater(Merge):
    """One day: a delta. Every `compact_after` days a compaction is added
    (`HeadwaterCompacting`).
    """

    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        layout = Layout(root / "in")
        space = Space("ctr", "bench", before.width, DAY - dt.timedelta(days=100))
        self._edition(layout, space, before)
        self._daily(layout, space, today)

    def _edition(self, layout: Layout, space: Space, before: Rows) -> None:
        folder = layout.edition(YESTERDAY, "first")
        folder.mkdir(parents=True)
        with (
            new_segment(layout.segment(NAME, "first"), before.width, True) as segment,
            new_index(folder / NAME) as index,
        ):
            for part in before.parts():
                places = np.arange(segment.rows, segment.rows + len(part)).astype(np.uint32)
                index.append(part.keys_N, part.seen_N, np.zeros(len(part), np.uint8), places)
                ids = pl.Series(part.keys_N.view(np.int64))
                steps = np.ones(len(part), np.uint8)
                segment.append(part.keys_N, part.vectors_ND, steps, part.seen_N, ids)
        entry = {
            "entity": "user",
            "digest": "first",
            "space": space.as_json(),
            "segments": ["first"],
            "rows": len(before),
        }
        manifest = {
            "day": str(YESTERDAY),
            "digest": "first",
            "policy": RULE.policy.model_dump(mode="json"),
            "expire_days": RULE.expire_days,
            "encoding": RULE.encoding,
            "models": {},
            "daily": {},
            "rotations": {},
            "snapshots": {NAME: entry},
        }
        write_json(folder / "manifest.json", manifest)

    def _daily(self, layout: Layout, space: Space, today: Rows) -> None:
        folder = layout.daily(DAY, "ctr", "today")
        folder.mkdir(parents=True)
        with new_segment(folder / NAME, today.width, True) as segment:
            for part in today.parts():
                seen = np.full(len(part), TODAY, np.int32)
                ids = pl.Series(part.keys_N.view(np.int64))
                steps = np.ones(len(part), np.uint8)
                segment.append(part.keys_N, part.vectors_ND, steps, seen, ids)
        listed = {NAME: {"entity": "user", "space": space.as_json()}}
        write_json(folder / "daily.json", {"day": str(DAY), "snapshots": listed})

    def rewind(self, root: Path) -> None:
        shutil.rmtree(root / "in" / "editions" / str(DAY), ignore_errors=True)
        for folder in (root / "in" / "segments" / NAME).iterdir():
            if folder.name != "first":
                shutil.rmtree(folder)

    def compose(self, root: Path) -> Composed:
        layout = Layout(root / "in")
        before = Edition.load(layout.edition(YESTERDAY, "first"))
        daily = read_daily(layout.daily(DAY, "ctr", "today"), DAY)
        assert daily is not None
        return compose(layout, DAY, before, daily, RULE, Provenance())

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
        compact(Layout(root / "in"), edition, RULE.bucket_rows)
