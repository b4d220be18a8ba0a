"""What T8 says of every method: means with their intervals, of all judged days and day by day, and
the difference from the best rival.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.console import Console
from headwater.studies.retrieval.comparing import Compared, compare
from headwater.studies.retrieval.days import GROUPS, RetrievalData, read_days
from headwater.studies.retrieval.judging import Estimate, Judge, Wanted
from headwater.studies.retrieval.methods import POPULAR, RIVALS
from headwater.workspace import Workspace


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
    factory's own method. `judge` is that of all wanted items; `results` are by method and group of
    items; `by_day` has the metric of all wanted items, by method and day.
    """

    data: RetrievalData
    compared: Compared
    judge: Judge
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
    confidence = config.evaluation.confidence
    judges = {group: Judge(compared.wanted.group(group), confidence) for group in GROUPS}
    metric = f"recall_{ks[-1]}"
    metrics = tuple(f"{name}_{k}" for k in ks for name in ("recall", "ndcg"))
    rivals = tuple(method for method in RIVALS if method in compared.methods)
    rival = highest(judges["all"], rivals, metric)
    return Results(
        data=data,
        compared=compared,
        judge=judges["all"],
        metric=metric,
        best="exact" + (POPULAR if config.retrieval.prior else ""),
        rivals=rivals,
        rival=rival,
        results={
            (method, group): _result(judges[group], method, metrics, metric, rival)
            for method in compared.methods
            for group in GROUPS
        },
        by_day=_by_day(compared.wanted, confidence, metric),
    )


def highest(judge: Judge, methods: Iterable[str], metric: str) -> str:
    """The method whose metric is best."""
    return max(methods, key=lambda method: judge.mean(method, metric).value)


def _result(judge: Judge, method: str, metrics: Iterable[str], metric: str, rival: str) -> Result:
    return Result(
        metrics={name: judge.mean(method, name) for name in metrics},
        queries=judge.queries,
        lead=None if method == rival else judge.difference(method, rival, metric),
    )


def _by_day(wanted: Wanted, confidence: float, metric: str) -> dict[str, dict[dt.date, Estimate]]:
    made: dict[str, dict[dt.date, Estimate]] = {method: {} for method in wanted.places}
    for ordinal in np.unique(wanted.days_M):
        judge = Judge(wanted.take(wanted.days_M == ordinal), confidence)
        day = dt.date.fromordinal(int(ordinal))
        for method, by_day in made.items():
            by_day[day] = judge.mean(method, metric)
    return made
