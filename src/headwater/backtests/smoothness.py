"""What a policy does to vectors, as the reports of a backtest's days have it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headwater.blobs import Layout
from headwater.store.reports import SnapshotHealth, read_copy


@dataclass(frozen=True)
class Smoothness:
    """By embedding, means over days: the cosine of a published vector with the day before's, and
    its age in days.
    """

    cosines: Mapping[str, float]
    ages: Mapping[str, float]

    @classmethod
    def of(cls, layout: Layout, days: Sequence[dt.date]) -> Smoothness:
        """Of a warehouse's days, those that have a report."""
        reports = [read_copy(layout, day) for day in days]
        health = [report.snapshots for report in reports if report is not None]
        return cls(
            cosines=_means(health, lambda one: one.cosine_median),
            ages=_means(health, lambda one: one.age_mean_days),
        )

    @property
    def cosine(self) -> float | None:
        """The mean over the embeddings; None where it is known of none."""
        return _mean(self.cosines.values())

    @property
    def age(self) -> float | None:
        """The mean over the embeddings; None where it is known of none."""
        return _mean(self.ages.values())


def _means(
    days: Sequence[Mapping[str, SnapshotHealth]], figure: Callable[[SnapshotHealth], float | None]
) -> dict[str, float]:
    """The mean of a figure over the days that have it, by embedding."""
    values: dict[str, list[float | None]] = {}
    for day in days:
        for name, health in day.items():
            values.setdefault(name, []).append(figure(health))
    means = {
        name: _mean(value for value in found if value is not None) for name, found in values.items()
    }
    return {name: mean for name, mean in means.items() if mean is not None}


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
