"""Aligning a lane: its new space is laid upon the live one, so that whoever reads the old space
goes on without retraining.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from headwater.blobs import MAIN
from headwater.digests import digest_of
from headwater.embeddings import Snapshot
from headwater.embeddings.alignment import Fit, Rotation, fit_rotation, refusals
from headwater.errors import EditionMissing, SpaceMismatch, StoreError
from headwater.files import new_folder
from headwater.lifecycle.switch import switch_to
from headwater.store import Edition, Entry
from headwater.store.rewrite import turn
from headwater.workspace import Workspace, open_edition


@dataclass(frozen=True)
class Alignment:
    """A lane's edition in another lane's space, and how well each upstream's vectors fit."""

    lane: str
    onto: str
    day: dt.date
    edition: str
    fits: Mapping[str, Fit]

    def as_json(self) -> dict[str, Any]:
        return {
            "lane": self.lane,
            "onto": self.onto,
            "day": str(self.day),
            "edition": self.edition,
            "upstreams": {name: fit.as_json() for name, fit in self.fits.items()},
        }


def rotations_of(edition: Edition) -> dict[str, Rotation]:
    """By upstream: how the daily vectors that follow an edition are turned."""
    return {name: Rotation.from_json(raw) for name, raw in edition.rotations.items()}


def fit_editions(new: Edition, old: Edition) -> dict[str, Fit]:
    """A rotation for every upstream that both editions hold and whose spaces differ."""
    pairs: dict[str, dict[str, tuple[Snapshot, Snapshot]]] = {}
    for name, entry in new.snapshots.items():
        if name in old.snapshots and new.space(name) != old.space(name):
            both = (new.read(name), old.read(name))
            pairs.setdefault(new.space(name).upstream, {})[entry["entity"]] = both
    return {upstream: fit_rotation(of_entity) for upstream, of_entity in pairs.items()}


def align_lane(workspace: Workspace, lane: str, onto: str = MAIN) -> Alignment:
    """Turn a lane's newest edition, and all that follow it, into the space of another lane, whose
    rankers it takes over.

    Raises EditionMissing where the lanes have no day in common, SpaceMismatch where the residual
    says that readers would be misled.
    """
    catalog = workspace.catalog()
    entry, other = _same_day(workspace, lane, onto)
    here, there = workspace.layout.of_lane(lane), workspace.layout.of_lane(onto)
    _expect_rankers(workspace, onto, other)
    new, old = open_edition(here, entry), open_edition(there, other)
    fits = fit_editions(new, old)
    if not fits:
        raise SpaceMismatch(
            f"align: the lanes {lane!r} and {onto!r} live in the same spaces on {entry.day}; there"
            " is nothing to align."
        )
    _expect_good(workspace, fits, lane, onto, entry.day)
    rotations = {upstream: fit.rotation for upstream, fit in fits.items()}
    turned = turn(here, new, rotations, workspace.config.store.bucket_rows)
    # The rankers go on here, reading the same space; they count once the catalog says `aligned`.
    for name in workspace.config.downstream:
        source = there.rankers(name, entry.day, bool(other.aligned))
        with new_folder(here.rankers(name, entry.day, aligned=True)) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)
    aligned = digest_of({upstream: rotation.digest for upstream, rotation in rotations.items()})
    folder = here.key(turned.folder)
    made = replace(entry, digest=turned.digest, folder=folder, aligned=aligned)
    switch_to(workspace, catalog.published(lane, made, go_live=False))
    return Alignment(lane, onto, entry.day, turned.digest, fits)


def _same_day(workspace: Workspace, lane: str, onto: str) -> tuple[Entry, Entry]:
    """The newest entries of both lanes. Raises EditionMissing where they are not of one day."""
    catalog = workspace.catalog()
    days, others = catalog.lane(lane).days, catalog.lane(onto).days
    if not days:
        raise EditionMissing(
            f"align: the lane {lane!r} has no edition yet; run some days of it first."
        )
    if not others or others[-1].day != days[-1].day:
        raise EditionMissing(
            f"align: {lane!r} is at {days[-1].day}, {onto!r} at"
            f" {others[-1].day if others else 'no day'}. Run both lanes to the same day."
        )
    return days[-1], others[-1]


def _expect_rankers(workspace: Workspace, onto: str, entry: Entry) -> None:
    layout = workspace.layout.of_lane(onto)
    lost = [
        name
        for name in workspace.config.downstream
        if not layout.rankers(name, entry.day, bool(entry.aligned)).is_dir()
    ]
    if lost:
        raise StoreError(
            f"align: {onto!r} has no rankers of {entry.day} for {', '.join(lost)} to take over. Run"
            " one more day in both lanes."
        )


def _expect_good(
    workspace: Workspace, fits: Mapping[str, Fit], lane: str, onto: str, day: dt.date
) -> None:
    limits = workspace.config.lifecycle.align
    wrong = [f"{name}: {why}" for name, fit in fits.items() for why in refusals(fit, limits)]
    if wrong:
        listed = "\n  - ".join(wrong)
        raise SpaceMismatch(
            f"align: {lane!r} cannot stand in for {onto!r}:\n  - {listed}\nRankers trained on the"
            " old space would be misled. Run the lane some more days, or promote it with the"
            f" rankers trained in it: `headwater promote {day} --lane {lane}`, and retrain every"
            " other reader. Limits: `lifecycle.align` in factory.yaml."
        )
