"""Aligning a lane: its new space is laid upon the live one, so that whoever reads the old space
goes on without retraining.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.embeddings.alignment import Fit, Rotation, fit_rotation, refusals
from headwater.errors import EditionMissing, SpaceMismatch, StoreError
from headwater.files import new_folder
from headwater.lifecycle.switch import edition_of, rankers_of, switch_to
from headwater.store import MAIN, Edition, EditionStore, read_catalog
from headwater.store.catalog import home_of


def rotations_of(edition: Edition) -> dict[str, Rotation]:
    """By upstream: how the daily vectors that follow an edition are turned."""
    return {name: Rotation.from_json(raw) for name, raw in edition.rotations.items()}


def fit_editions(new: Edition, old: Edition) -> dict[str, Fit]:
    """A rotation for every upstream that both editions hold and whose spaces differ."""
    pairs: dict[str, dict[str, Any]] = {}
    for name, entry in new.snapshots.items():
        if name in old.snapshots and new.space(name) != old.space(name):
            pairs.setdefault(new.space(name).upstream, {})[entry["entity"]] = (
                new.read(name),
                old.read(name),
            )
    return {upstream: fit_rotation(of_entity) for upstream, of_entity in pairs.items()}


def align_lane(
    warehouse: Path, config: FactoryConfig, lane: str, onto: str = MAIN
) -> dict[str, Any]:
    """Turn a lane's newest edition, and all that follow it, into the space of another lane, whose
    rankers it takes over.

    Raises EditionMissing where the lanes have no day in common, SpaceMismatch where the residual
    says that readers would be misled.
    """
    catalog = read_catalog(warehouse)
    chain = catalog.lane(lane)
    if not chain.days:
        raise EditionMissing(
            f"align: the lane {lane!r} has no edition yet; run some days of it first."
        )
    entry, others = chain.days[-1], catalog.lane(onto).days
    if not others or others[-1].day != entry.day:
        raise EditionMissing(
            f"align: {lane!r} is at {entry.day}, {onto!r} at"
            f" {others[-1].day if others else 'no day'}. Run both lanes to the same day."
        )
    other = others[-1]
    rankers = home_of(warehouse, onto) / "models" / "downstream"
    lost = [
        name
        for name in config.downstream
        if not (rankers / name / rankers_of(entry.day, bool(other.aligned))).is_dir()
    ]
    if lost:
        raise StoreError(
            f"align: {onto!r} has no rankers of {entry.day} for {', '.join(lost)} to take over. Run"
            " one more day in both lanes."
        )
    new, old = edition_of(warehouse, lane, entry), edition_of(warehouse, onto, other)
    fits = fit_editions(new, old)
    if not fits:
        raise SpaceMismatch(
            f"align: the lanes {lane!r} and {onto!r} live in the same spaces on {entry.day}; there"
            " is nothing to align."
        )
    wrong = [
        f"{upstream}: {why}"
        for upstream, fit in fits.items()
        for why in refusals(fit, config.lifecycle.align)
    ]
    if wrong:
        listed = "\n  - ".join(wrong)
        raise SpaceMismatch(
            f"align: {lane!r} cannot stand in for {onto!r}:\n  - {listed}\nRankers trained on the"
            " old space would be misled. Run the lane some more days, or promote it with the"
            f" rankers trained in it: `headwater promote {entry.day} --lane {lane}`, and retrain"
            " every other reader. Limits: `lifecycle.align` in factory.yaml."
        )
    turned = EditionStore(new.home).turn(
        new, {upstream: fit.rotation for upstream, fit in fits.items()}, config.store.bucket_rows
    )
    for name in (
        config.downstream
    ):  # the rankers go on here, reading the same space; they count once the catalog says `aligned`
        source = rankers / name / rankers_of(entry.day, bool(other.aligned))
        with new_folder(
            home_of(warehouse, lane) / "models" / "downstream" / name / rankers_of(entry.day, True)
        ) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)
    aligned = digest_of({upstream: fit.rotation.digest for upstream, fit in fits.items()})
    made = replace(
        entry,
        digest=turned.digest,
        folder=str(turned.folder.relative_to(turned.home)),
        aligned=aligned,
    )
    switch_to(warehouse, config, catalog.published(lane, made, go_live=False))
    return {
        "lane": lane,
        "onto": onto,
        "day": str(entry.day),
        "edition": turned.digest,
        "upstreams": {name: fit.as_json() for name, fit in fits.items()},
    }
