"""A bare warehouse for tests of the lifecycle: published by hand, without logs or models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from at import catalog_at, edition_at
from headwater.blobs import MAIN, Layout
from headwater.config import FactoryConfig, parse_config
from headwater.digests import digest_of
from headwater.embeddings import Snapshot, Space
from headwater.embeddings.snapshot import day_number
from headwater.ids import key_of
from headwater.lifecycle import compact_where_due, retire, switch_to
from headwater.lifecycle.align import rotations_of
from headwater.serving.reader import Reader
from headwater.store import Edition, Entry, Provenance, compose, read_daily, write_daily
from headwater.store.reports import DayReport, write_report
from headwater.workspace import Workspace

D0 = dt.date(2025, 1, 1)
RAW: dict[str, Any] = {
    "name": "shop",
    "logs": {"feed": {"path": "feed.parquet", "time": "t", "entities": {"user": "u", "item": "i"}}},
    "entities": {"user": {}, "item": {}},
    "tasks": {"click": {"log": "feed", "label": "c"}},
    "upstreams": {"ctr": {"tasks": ["click"]}},
    "index": {"kind": "exact"},
}


def after(n: int) -> dt.date:
    return D0 + dt.timedelta(days=n)


def space_of(width: int = 2, lineage: str = "a" * 32, opened: dt.date = D0) -> Space:
    return Space("ctr", lineage, width, opened)


def vectors_of(
    ids: list[Any],
    vectors: Any,
    day: dt.date = D0,
    entity: str = "user",
    space: Space | None = None,
) -> Snapshot:
    """A daily snapshot: one vector an id."""
    array = np.asarray(vectors, np.float32).reshape(len(ids), space.width if space else -1)
    space = space or space_of(array.shape[1])
    keys = np.array([key_of(value) for value in ids], np.uint64)
    order = np.argsort(keys)
    series = pl.Series(
        "id",
        [ids[n] for n in order],
        dtype=pl.Int64 if all(isinstance(value, int) for value in ids) else pl.String,
    )
    return Snapshot(
        space,
        entity,
        day,
        keys[order],
        array[order],
        np.full(len(ids), day_number(day), np.int32),
        series,
    )


class Shop:
    """Publishes daily vectors under a policy; `settings` go under `lifecycle` and `store`."""

    def __init__(
        self,
        root: Path,
        policy: Mapping[str, Any] | None = None,
        store: Mapping[str, Any] | None = None,
        **lifecycle: Any,
    ) -> None:
        raw = {
            **RAW,
            "warehouse": str(root),
            "lifecycle": {"policy": dict(policy or {"kind": "ema"}), **lifecycle},
            "store": dict(store or {}),
        }
        self.config: FactoryConfig = parse_config(raw)
        self.root = root

    @property
    def workspace(self) -> Workspace:
        return Workspace.of(self.config, self.root)

    @property
    def reader(self) -> Reader:
        return Reader(self.workspace)

    @property
    def live(self) -> Edition:
        return self.reader.edition()

    def compose(self, day: dt.date, snapshots: list[Snapshot], lane: str = MAIN) -> Edition:
        """Everything but the switch."""
        self.workspace.catalogs.begin()
        layout = Layout(self.root, lane)
        fingerprint = digest_of([snapshot.digest for snapshot in snapshots])
        folder = layout.daily(day, "ctr", fingerprint)
        write_daily(folder, day, snapshots, self.config.store.bucket_rows)
        earlier = [entry for entry in catalog_at(self.root).lane(lane).days if entry.day < day]
        before = edition_at(self.root, earlier[-1], lane) if earlier else None
        daily = read_daily(folder, day)
        assert daily is not None
        rotations = rotations_of(before) if before is not None else {}
        source = Provenance({}, {"ctr": layout.key(folder)}, rotations)
        edition = compose(layout, day, before, daily, self.workspace.rule, source).edition
        write_report(edition.folder, DayReport(day, "", edition.digest))
        return edition

    def publish(
        self, day: dt.date, snapshots: list[Snapshot], lane: str = MAIN, live: bool = True
    ) -> Edition:
        """One day: compose, switch, tidy."""
        edition = self.compose(day, snapshots, lane)
        folder = Layout(self.root, lane).key(edition.folder)
        entry = Entry(day, edition.digest, folder, digest_of(str(day)))
        switch_to(self.workspace, catalog_at(self.root).published(lane, entry, live))
        compact_where_due(self.workspace, lane)
        retire(self.workspace)
        return edition_at(self.root, catalog_at(self.root).lane(lane).days[-1], lane)

    def vector(
        self, edition: Edition, value: int | str, name: str = "ctr_user"
    ) -> np.ndarray | None:
        """What a consumer gets of an edition: one vector, or a sequence."""
        served = edition.lookup(name, np.array([key_of(value)], np.uint64), edition.day)
        if not served.found_N[0]:
            return None
        return (
            served.vectors_ND[0]
            if served.sequence_NKD is None
            else served.sequence_NKD[0, : served.steps_N[0]]
        )
