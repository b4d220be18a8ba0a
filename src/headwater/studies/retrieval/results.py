"""What T8 says of every method: means with their intervals, of all judged days and day by day, and
the difference from the best rival. Shapes: Q queries.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.config import EvaluationConfig
from headwater.console import Console
from headwater.studies.retrieval.comparing import Compared, compare
from headwater.studies.retrieval.days import GROUPS, RetrievalData, read_days
from headwater.studies.retrieval.intervals import Estimate, Resampler
from headwater.studies.retrieval.methods import POPULAR, RIVALS
from headwater.workspace import Workspace

BOOTSTRAP_SEED = 20250908


@dataclass(frozen=True)
class Result:
    """What one method makes of one group of wanted items. `lead` is its difference in the judged
    metric from the best rival; None of that rival itself.
    """

    metrics: Mapping[str, Estimate]
    queries: int
    lead: Estimate | None


@dataclass(frozen=True)
class Results:
    """Methods are judged by `metric`; by it `rival` is the best of the `rivals`, and `best` is the
    factory's own method. `results` are by method and group of items; `by_day` has the metric of all
    wanted items, by method and day.
    """

    data: RetrievalData
    compared: Compared
    sample: Resampler
    metric: str
    best: str
    rivals: tuple[str, ...]
    rival: str
    results: Mapping[tuple[str, str], Result]
    by_day: Mapping[str, Mapping[dt.date, Estimate]]

    @property
    def title(self) -> str:
        """The metric as people write it."""
        return self.metric.replace("_", "@")

    @property
    def drawn(self) -> tuple[str, ...]:
        """The methods that the charts show."""
        return ("exact", "exact" + POPULAR, *self.rivals)

    def judged(self, method: str, group: str = "all") -> Estimate:
        """The metric of one method."""
        return self.results[method, group].metrics[self.metric]


def gather(workspace: Workspace, ks: tuple[int, ...], console: Console) -> Results:
    """Read the days, let every method rank and judge it, at each of `ks`.

    Raises ExperimentError where no day can be judged, EditionMissing where retention removed what
    was served.
    """
    config, data = workspace.config, read_days(workspace)
    compared = compare(config, data, ks, console)
    span = config.evaluation
    sample = Resampler(compared.users_Q, span.bootstrap, span.confidence, BOOTSTRAP_SEED)
    metric = f"recall_{ks[-1]}"
    rivals = tuple(method for method in RIVALS if method in compared.metrics)
    rival = highest(compared, rivals, metric)
    return Results(
        data=data,
        compared=compared,
        sample=sample,
        metric=metric,
        best="exact" + (POPULAR if config.retrieval.prior else ""),
        rivals=rivals,
        rival=rival,
        results={
            (method, group): _result(compared, sample, (method, group), metric, rival)
            for method in compared.metrics
            for group in GROUPS
        },
        by_day=_by_day(compared, span, metric),
    )


def highest(compared: Compared, methods: Iterable[str], metric: str) -> str:
    """The method whose metric of all wanted items is best."""
    return max(methods, key=lambda method: np.nanmean(compared.of_all(method, metric)))


def _result(
    compared: Compared, sample: Resampler, what: tuple[str, str], metric: str, rival: str
) -> Result:
    method, group = what
    values = compared.metrics[method][group]
    lead = None
    if method != rival:
        lead = sample.difference(values[metric], compared.metrics[rival][group][metric])
    return Result(
        metrics={name: sample.mean(values_Q) for name, values_Q in values.items()},
        queries=int((~np.isnan(values[metric])).sum()),
        lead=lead,
    )


def _by_day(
    compared: Compared, span: EvaluationConfig, metric: str
) -> dict[str, dict[dt.date, Estimate]]:
    made: dict[str, dict[dt.date, Estimate]] = {method: {} for method in compared.metrics}
    for ordinal in np.unique(compared.days_Q):
        mine_Q = compared.days_Q == ordinal
        users = compared.users_Q[mine_Q]
        sample = Resampler(users, span.bootstrap, span.confidence, BOOTSTRAP_SEED)
        day = dt.date.fromordinal(int(ordinal))
        for method, by_day in made.items():
            by_day[day] = sample.mean(compared.of_all(method, metric)[mine_Q])
    return made
