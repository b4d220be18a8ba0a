"""T8: retrieval of the items that users clicked next, beside popularity and matrix factorisation,
warm and cold items apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np

from headwater.config import FactoryConfig, PriorConfig
from headwater.console import SILENT, Console
from headwater.errors import ConfigError
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.studies.registry import Asked
from headwater.studies.retrieval.comparing import POPULAR, RIVALS, Compared, compare
from headwater.studies.retrieval.days import GROUPS, RetrievalData, read_days
from headwater.studies.retrieval.intervals import Estimate, Resampler
from headwater.workspace import Workspace

BOOTSTRAP_SEED = 20250908


def retrieval_study(asked: Asked) -> Table:
    return retrieval_table(asked.workspace, console=asked.console)


def retrieval_table(
    workspace: Workspace, ks: tuple[int, ...] = (10, 50), console: Console = SILENT
) -> Table:
    """T8: recall and NDCG at each of `ks` by method and group of items, and the difference of the
    last recall from the best rival's.

    Every day's queries are judged with the edition that was served that day. Raises ExperimentError
    where no day can be judged, EditionMissing where retention removed what was served, ConfigError
    for bad `ks`.
    """
    if not ks or list(ks) != sorted(set(ks)) or ks[0] < 1:
        raise ConfigError(f"retrieval: ks should be ascending numbers from 1 on. Received: {ks}.")
    config, data = workspace.config, read_days(workspace)
    found = compare(config, data, ks, console)
    span = config.evaluation
    sample = Resampler(found.users_Q, span.bootstrap, span.confidence, BOOTSTRAP_SEED)
    metric = f"recall_{ks[-1]}"
    rivals = [method for method in RIVALS if method in found.metrics]
    rival = max(rivals, key=lambda method: np.nanmean(found.metrics[method]["all"][metric]))
    rows = tuple(
        _row(found, sample, method, group, metric, rival)
        for method in found.metrics
        for group in GROUPS
    )
    best = "exact" + (POPULAR if config.retrieval.prior else "")
    by_day = _by_day(found, span.bootstrap, span.confidence, metric)
    shown = ["exact", "exact" + POPULAR, *rivals]
    charts = (
        Chart(
            "T8-days",
            f"T8: recall@{ks[-1]} by day",
            "lines",
            "day",
            f"recall@{ks[-1]}",
            tuple(_series(by_day, method) for method in shown),
            f"With {span.confidence:.0%} intervals over users.",
        ),
        Chart(
            "T8-items",
            f"T8: recall@{ks[-1]} of warm and cold items",
            "bars",
            f"recall@{ks[-1]}",
            "",
            tuple(
                Series(
                    group,
                    tuple(shown),
                    tuple(_value(rows, method, group, metric) for method in shown),
                )
                for group in GROUPS[1:]
            ),
        ),
    )
    return Table(
        "T8",
        f"retrieval of items for users, judged by the next {data.task}",
        data.upstream,
        str(data.judged[0].day),
        str(data.judged[-1].day),
        _answer(rows, by_day, best, rival, metric, found) + _equal_terms(found, sample, metric),
        _columns(ks, span.confidence),
        rows,
        _notes(config, data, found, rival),
        charts,
    )


def _row(
    found: Compared, sample: Resampler, method: str, group: str, metric: str, rival: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "items": group}
    for name, values in found.metrics[method][group].items():
        row |= _as_cells(name, sample.mean(values))
    row["queries"] = int((~np.isnan(found.metrics[method][group][metric])).sum())
    row["rival"] = None if method == rival else rival
    if method != rival:
        less = sample.difference(
            found.metrics[method][group][metric], found.metrics[rival][group][metric]
        )
        row |= _as_cells("difference", less) | {"queries_needed": less.needed}
    if group == "all" and method in found.overlap:
        row["overlap"] = found.overlap[method]
    return row


def _as_cells(name: str, made: Estimate) -> dict[str, float | None]:
    cells = {name: made.value, f"{name}_low": made.low, f"{name}_high": made.high}
    return {key: None if np.isnan(value) else value for key, value in cells.items()}


def _columns(ks: tuple[int, ...], confidence: float) -> tuple[Column, ...]:
    metrics = [
        Column(
            f"{name}_{k}",
            f"{title}@{k} ({confidence:.0%})",
            ".4f",
            f"{name}_{k}_low",
            f"{name}_{k}_high",
        )
        for k in ks
        for name, title in (("recall", "recall"), ("ndcg", "NDCG"))
    ]
    return (
        Column("method", "method"),
        Column("items", "items"),
        *metrics,
        Column(
            "difference",
            f"recall@{ks[-1]} less the best rival's",
            "+.4f",
            "difference_low",
            "difference_high",
        ),
        Column("queries_needed", "queries needed", ".2g"),
        Column("overlap", "of exact's answers", ".4f"),
        Column("queries", "queries", ","),
    )


def _by_day(
    found: Compared, replicates: int, confidence: float, metric: str
) -> dict[str, dict[dt.date, Estimate]]:
    made: dict[str, dict[dt.date, Estimate]] = {method: {} for method in found.metrics}
    for day in np.unique(found.days_Q):
        mine = found.days_Q == day
        sample = Resampler(found.users_Q[mine], replicates, confidence, BOOTSTRAP_SEED)
        for method in made:
            made[method][dt.date.fromordinal(int(day))] = sample.mean(
                found.metrics[method]["all"][metric][mine]
            )
    return made


def _series(by_day: Mapping[str, Mapping[dt.date, Estimate]], method: str) -> Series:
    days = by_day[method]
    return Series(
        method,
        tuple(map(str, days)),
        tuple(made.value for made in days.values()),
        tuple(made.low for made in days.values()),
        tuple(made.high for made in days.values()),
    )


def _find(rows: tuple[dict[str, Any], ...], method: str, group: str) -> dict[str, Any]:
    return next(row for row in rows if row["method"] == method and row["items"] == group)


def _value(rows: tuple[dict[str, Any], ...], method: str, group: str, metric: str) -> float | None:
    return _find(rows, method, group)[metric]


def _answer(
    rows: tuple[dict[str, Any], ...],
    by_day: Mapping[str, Mapping[dt.date, Estimate]],
    best: str,
    rival: str,
    metric: str,
    found: Compared,
) -> str:
    """Does it win, by how much, how sure, on how many days; and what the index loses."""
    ours, theirs = _find(rows, best, "all"), _find(rows, rival, "all")
    title = metric.replace("_", "@")
    days = [by_day[best][day].value > by_day[rival][day].value for day in by_day[best]]
    verdict = (
        "above"
        if ours["difference_low"] > 0
        else "below"
        if ours["difference_high"] < 0
        else "not shown to differ from"
    )
    needed = (
        f"; about {ours['queries_needed']:,} queries would be needed to show it"
        if ours["queries_needed"]
        else ""
    )
    index = ", ".join(
        f"{method} answers {share:.1%} of what exact search does"
        for method, share in found.overlap.items()
    )
    return (
        f"{title} of {best} search is {ours[metric]:.4f} ({ours[metric + '_low']:.4f} to"
        f" {ours[metric + '_high']:.4f}), {verdict} {theirs[metric]:.4f} of {rival}, the best"
        f" rival: {ours['difference']:+.4f} ({ours['difference_low']:+.4f} to"
        f" {ours['difference_high']:+.4f}){needed}; higher on {sum(days)} of {len(days)} days."
        f" {index}."
    )


def _equal_terms(found: Compared, sample: Resampler, metric: str) -> str:
    """What is left of the difference where the best factorisation is given the same popularity."""
    given = [
        method
        for method in found.metrics
        if method.removesuffix(POPULAR) in RIVALS and method.endswith(POPULAR)
    ]
    if not given:
        return ""
    best = max(given, key=lambda method: np.nanmean(found.metrics[method]["all"][metric]))
    less = sample.difference(
        found.metrics["exact" + POPULAR]["all"][metric], found.metrics[best]["all"][metric]
    )
    return (
        f" On equal terms, both with popularity, {best.removesuffix(POPULAR)} reaches"
        f" {np.nanmean(found.metrics[best]['all'][metric]):.4f}: {less.value:+.4f} ({less.low:+.4f}"
        f" to {less.high:+.4f})."
    )


def _notes(
    config: FactoryConfig, data: RetrievalData, found: Compared, rival: str
) -> tuple[str, ...]:
    spec, prior = config.retrieval, config.retrieval.prior or PriorConfig()
    asked, queries = sum(data.asked), sum(map(len, data.judged))
    lost = {
        group: sum(int(day.relevant(group)[1].sum()) for day in data.judged) for group in GROUPS
    }
    missed = lost["all"] - sum(int(day.relevant("all")[0].sum()) for day in data.judged)
    chosen = [str(day.day) for day in data.earlier]
    return (
        (
            f"Queries: {queries:,} of {asked:,} users with a {data.task} on a day, those who were"
            f" served a vector (of {data.upstream}). Candidates: the items that were served,"
            f" {len(data.judged[-1].items_N):,} on the last day. Wanted: {lost['all']:,} items, of"
            f" which {missed:,} had no vector and count as missed."
        ),
        (
            f"Cold: items with fewer than {spec.cold_rows} rows in the log before the day,"
            f" {lost['cold']:,} of those wanted."
        ),
        (
            f"+ popularity: cosine / {data.temperature:g} + {prior.weight:g} log(1 + {data.task}s"
            f" of the last {prior.days} day(s)): still one inner product, which any index serves."
        ),
        *(["What a user met before is left out, for every method."] if spec.unseen else []),
        *(f"{name}: {setting}." for name, setting in found.settings.items()),
        (
            f"Rivals learn every {data.task} before the day, and what the histories' seed holds;"
            " users unknown to one get the popular items. Their settings were chosen on"
            f" {', '.join(chosen) or 'no earlier day, for there is none'}. The best of them,"
            f" afterwards, is {rival}."
        ),
        *(
            []
            if "ALS" in found.metrics
            else ["ALS and BPR are missing: `pip install implicit` adds them."]
        ),
    )
