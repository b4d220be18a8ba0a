"""Making editions again from daily snapshots: another policy, another window, nothing trained."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

from headwater.config import FactoryConfig, PolicyConfig
from headwater.errors import EditionMissing, StoreError
from headwater.files import read_json, write_json
from headwater.lifecycle.align import rotations_of
from headwater.lifecycle.erase import FILE as TOMBSTONES
from headwater.lifecycle.retention import compact_where_due
from headwater.lifecycle.switch import REPORT, edition_of, switch_to
from headwater.store import MAIN, Edition, EditionStore, Entry, read_catalog
from headwater.store.catalog import begin_catalog, home_of


def rebuild(
    warehouse: Path,
    config: FactoryConfig,
    lane: str,
    out: Path,
    policy: PolicyConfig | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> list[dict[str, Any]]:
    """Fold a lane's daily snapshots into editions in a warehouse of their own, `out`. Under the
    declared policy, from the first day on, they are the published ones, digest for digest.

    Raises EditionMissing where the span holds no day whose snapshots are kept, StoreError where
    `out` is not empty.
    """
    if out.resolve().is_relative_to(warehouse.resolve()):
        raise StoreError(
            f"{out}: lies in the warehouse itself, where what no catalog names is removed. Choose a"
            " folder elsewhere."
        )
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{out}: not empty. Choose an empty folder.")
    entries = [
        entry
        for entry in read_catalog(warehouse).lane(lane).days
        if (start is None or entry.day >= start) and (end is None or entry.day <= end)
    ]
    kept = [entry for entry in entries if entry.folder is not None]
    if not kept:
        raise EditionMissing(
            f"rebuild: no day from {start or 'the start'} to {end or 'the end'} in the lane"
            f" {lane!r} has its daily snapshots."
        )
    aligned = [entry.day for entry in kept if entry.aligned]
    if aligned:
        raise StoreError(
            f"rebuild: the lane {lane!r} was turned into another space on {aligned[-1]}; the days"
            " before it and those after it can only be rebuilt by themselves: give --from or --to."
        )
    if (tombstones := warehouse / TOMBSTONES).is_file():  # who was erased stays erased there too
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tombstones, out / TOMBSTONES)
    begin_catalog(out)
    lifecycle = (
        config.lifecycle
        if policy is None
        else config.lifecycle.model_copy(update={"policy": policy})
    )
    made = config.model_copy(update={"lifecycle": lifecycle})
    source, target = EditionStore(home_of(warehouse, lane)), EditionStore(out)
    before: Edition | None = None
    days = []
    for entry in kept:
        old = edition_of(warehouse, lane, entry)
        daily = source.read_daily(entry.day, source.home / old.daily) if old.daily else None
        if daily is None:
            raise StoreError(
                f"rebuild: the daily snapshots of {entry.day} are gone; lifecycle.keep_days says"
                " how long they are kept."
            )
        rotations = rotations_of(before) if before is not None else rotations_of(old)
        edition = target.compose(
            entry.day, before, daily, lifecycle, config.store, old.models, None, rotations
        ).edition
        if (old.folder / REPORT).is_file():
            report = read_json(old.folder / REPORT)
            write_json(edition.folder / REPORT, report | {"edition": edition.digest})
        name = str(edition.folder.relative_to(out))
        switch_to(
            out,
            made,
            read_catalog(out).published(
                MAIN, Entry(entry.day, edition.digest, name, entry.fingerprint), go_live=False
            ),
        )
        if any(
            len(found["segments"]) > config.store.compact_after
            for found in edition.snapshots.values()
        ):
            compact_where_due(out, made, MAIN, entry.day)
            edition = edition_of(out, MAIN, read_catalog(out).lane(MAIN).days[-1])
        before = edition
        days.append({"day": str(entry.day), "edition": edition.digest, "published": entry.digest})
    switch_to(out, made, read_catalog(out).promoted(MAIN, kept[-1].day))
    return days
