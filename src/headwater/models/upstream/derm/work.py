"""A day's work of a DERM model, with its rows in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headwater.events import Examples
from headwater.events.examples import Listing
from headwater.models.upstream.base import UpstreamJob
from headwater.models.upstream.derm.plan import DermPlan


@dataclass(frozen=True)
class DermDay:
    """One day's work of one DERM model. `before`: yesterday's checkpoint, or None to
    begin the space.

    `learn` are rows whose labels are known since today, `show` today's rows of each log, `listings`
    everyone listed, of the entities that get vectors of their content, `items_to_come_M` the keys
    of items that do not exist yet.
    """

    plan: DermPlan
    day: dt.date
    learn: tuple[Examples, ...]
    show: tuple[Examples, ...]
    before: Path | None
    folder: Path
    fingerprint: str
    listings: Mapping[str, Listing] = field(default_factory=dict)
    items_to_come_M: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))

    @classmethod
    def of(cls, job: UpstreamJob) -> DermDay:
        """What a job names, read."""
        return cls(
            plan=job.plan.detail,
            day=job.day,
            learn=job.rows_to_learn(),
            show=job.rows_shown(),
            before=job.before,
            folder=job.folder,
            fingerprint=job.fingerprint,
            listings={entity: job.listed_of(entity) for entity in job.listed},
            items_to_come_M=job.to_come_of("item"),
        )
