"""Making editions again from daily snapshots: another policy, another window, nothing trained."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.blobs import MAIN, Layout
from headwater.config import PolicyConfig
from headwater.embeddings.alignment import Rotation
from headwater.errors import EditionMissing, StoreError
from headwater.lifecycle.align import rotations_of
from headwater.lifecycle.retention import compact_where_due
from headwater.lifecycle.switch import switch_to
from headwater.store import Edition, Entry, Provenance, compose
from headwater.store.reports import read_report, write_report
from headwater.workspace import Workspace, daily_of


@dataclass(frozen=True)
class Rebuilt:
    """A day made again: the digests of the new edition, and of the one that was published."""

    day: dt.date
    edition: str
    published: str

    def as_json(self) -> dict[str, Any]:
        return {"day": str(self.day), "edition": self.edition, "published": self.published}


def rebuild(
    workspace: Workspace,
    out: Path,
    policy: PolicyConfig | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> list[Rebuilt]:
    """Fold a lane's daily snapshots into editions in a warehouse of their own, `out`. Under the
    declared policy, from the first day on, they are the published ones, digest for digest.

    Raises EditionMissing where the span holds no day whose snapshots are kept, StoreError where
    `out` is not empty.
    """
    _expect_empty(out, workspace.layout)
    kept = _entries(workspace, start, end)
    # Who was erased stays erased there too.
    if workspace.layout.tombstones.is_file():
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workspace.layout.tombstones, Layout(out).tombstones)
    target = _target(workspace, out, policy)
    target.catalogs.begin()
    before: Edition | None = None
    days = []
    for entry in kept:
        before = _again(workspace, target, entry, before)
        days.append(Rebuilt(entry.day, before.digest, entry.digest))
    switch_to(target, target.catalog().promoted(MAIN, kept[-1].day))
    return days


def _expect_empty(out: Path, layout: Layout) -> None:
    if out.resolve().is_relative_to(layout.root.resolve()):
        raise StoreError(
            f"{out}: lies in the warehouse itself, where what no catalog names is removed. Choose a"
            " folder elsewhere."
        )
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{out}: not empty. Choose an empty folder.")


def _entries(workspace: Workspace, start: dt.date | None, end: dt.date | None) -> list[Entry]:
    """The days of the span whose snapshots are kept. Raises EditionMissing, StoreError."""
    kept = [
        entry
        for entry in workspace.chain().days
        if (start is None or entry.day >= start)
        and (end is None or entry.day <= end)
        and entry.folder is not None
    ]
    if not kept:
        raise EditionMissing(
            f"rebuild: no day from {start or 'the start'} to {end or 'the end'} in the lane"
            f" {workspace.lane!r} has its daily snapshots."
        )
    aligned = [entry.day for entry in kept if entry.aligned]
    if aligned:
        raise StoreError(
            f"rebuild: the lane {workspace.lane!r} was turned into another space on {aligned[-1]};"
            " the days before it and those after it can only be rebuilt by themselves: give --from"
            " or --to."
        )
    return kept


def _target(workspace: Workspace, out: Path, policy: PolicyConfig | None) -> Workspace:
    config = workspace.config
    if policy is not None:
        lifecycle = config.lifecycle.model_copy(update={"policy": policy})
        config = config.model_copy(update={"lifecycle": lifecycle})
    return Workspace.of(config, workspace.root, MAIN, out)


def _again(
    workspace: Workspace, target: Workspace, entry: Entry, before: Edition | None
) -> Edition:
    """One day made again upon the rebuilt day before it, and published in the target."""
    old = workspace.open(entry)
    daily = daily_of(workspace.layout, old)
    rotations: Mapping[str, Rotation] = rotations_of(old if before is None else before)
    source = Provenance(old.models, {}, rotations)
    edition = compose(target.layout, entry.day, before, daily, target.rule, source).edition
    report = read_report(old.folder)
    if report is not None:
        write_report(edition.folder, report.of_edition(edition.digest))
    folder = target.layout.key(edition.folder)
    made = Entry(entry.day, edition.digest, folder, entry.fingerprint)
    switch_to(target, target.catalog().published(MAIN, made, go_live=False))
    compact_where_due(target, MAIN, entry.day)
    return target.edition(entry.day)
