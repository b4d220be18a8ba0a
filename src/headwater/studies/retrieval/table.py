"""T8: retrieval of the items that users clicked next, beside popularity and matrix factorisation,
warm and cold items apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np

from headwater.config import PriorConfig, RetrievalConfig
from headwater.console import SILENT, Console
from headwater.errors import ConfigError
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.studies.comparison import Row
from headwater.studies.registry import Asked
from headwater.studies.retrieval.days import GROUPS, RetrievalData
from headwater.studies.retrieval.judging import Estimate
from headwater.studies.retrieval.methods import POPULAR, RIVALS
from headwater.studies.retrieval.results import Results, gather, highest
from headwater.workspace import Workspace


def retrieval_study(asked: Asked) -> Table:
    """T8: retrieval, beside popularity and matrix factorisation."""
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
    found = gather(workspace, ks, console)
    confidence = workspace.config.evaluation.confidence
    return Table(
        name="T8",
        title=f"retrieval of items for users, judged by the next {found.data.task}",
        consumer=found.data.upstream,
        first_day=str(found.data.judged[0].day),
        last_day=str(found.data.judged[-1].day),
        answer=_answer(found) + _equal_terms(found),
        columns=_columns(ks, confidence),
        rows=tuple(_row(found, method, group) for method, group in found.results),
        notes=_notes(workspace.config.retrieval, found),
        charts=_charts(found, confidence),
    )


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


def _row(found: Results, method: str, group: str) -> Row:
    result = found.results[method, group]
    row: dict[str, object] = {"method": method, "items": group}
    for name, made in result.metrics.items():
        row |= _cells(name, made)
    row["queries"] = result.queries
    row["rival"] = None if result.lead is None else found.rival
    if result.lead is not None:
        row |= _cells("difference", result.lead)
        row["queries_needed"] = result.lead.needed
    if group == "all" and method in found.compared.overlap:
        row["overlap"] = found.compared.overlap[method]
    return row


def _cells(name: str, made: Estimate) -> dict[str, float | None]:
    return {
        name: _or_none(made.value),
        f"{name}_low": _or_none(made.low),
        f"{name}_high": _or_none(made.high),
    }


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _answer(found: Results) -> str:
    """Does it win, by how much, how sure, on how many days; and what the index loses."""
    ours, theirs = found.judged(found.best), found.judged(found.rival)
    lead = found.results[found.best, "all"].lead
    assert lead is not None  # no rival is the factory's own
    needed = ""
    if lead.needed:
        needed = f"; about {lead.needed:,} queries would be needed to show it"
    days = list(found.by_day[found.best])
    won = sum(
        found.by_day[found.best][day].value > found.by_day[found.rival][day].value for day in days
    )
    index = ", ".join(
        f"{method} answers {share:.1%} of what exact search does"
        for method, share in found.compared.overlap.items()
    )
    return (
        f"{found.title} of {found.best} search is {ours.value:.4f} ({ours.low:.4f} to"
        f" {ours.high:.4f}), {_verdict(lead)} {theirs.value:.4f} of {found.rival}, the best rival:"
        f" {lead.value:+.4f} ({lead.low:+.4f} to {lead.high:+.4f}){needed}; higher on {won} of"
        f" {len(days)} days. {index}."
    )


def _verdict(lead: Estimate) -> str:
    if lead.low > 0:
        return "above"
    return "below" if lead.high < 0 else "not shown to differ from"


def _equal_terms(found: Results) -> str:
    """What is left of the difference where the best factorisation is given the same popularity."""
    judge, metric = found.judge, found.metric
    given = [rival + POPULAR for rival in RIVALS if rival + POPULAR in found.compared.methods]
    if not given:
        return ""
    best = highest(judge, given, metric)
    less = judge.difference("exact" + POPULAR, best, metric)
    return (
        f" On equal terms, both with popularity, {best.removesuffix(POPULAR)} reaches"
        f" {judge.mean(best, metric).value:.4f}: {less.value:+.4f} ({less.low:+.4f} to"
        f" {less.high:+.4f})."
    )


def _notes(spec: RetrievalConfig, found: Results) -> tuple[str, ...]:
    data, prior = found.data, spec.prior or PriorConfig()
    met = sum(day.met_before for day in data.judged)
    unseen = (
        "What a user met before is left out, for every method, and is not wanted:"
        f" {met:,} clicks on such items."
    )
    missing = "ALS and BPR are missing: `pip install implicit` adds them."
    return (
        _asked_note(data),
        (
            f"Cold: items with fewer than {spec.cold_rows} rows in the log before the day,"
            f" {_wanted(data, 'cold'):,} of those wanted."
        ),
        (
            f"+ popularity: cosine / {data.temperature:g} + {prior.weight:g} log(1 + {data.task}s"
            f" of the last {prior.days} day(s)): still one inner product, which any index serves."
        ),
        *([unseen] if spec.unseen else []),
        *(f"{name}: {setting}." for name, setting in found.compared.settings.items()),
        _rivals_note(found),
        (
            "Intervals are over users and items, all days of either together. The chance in"
            " training the upstream, which was trained once, is in none of them."
        ),
        *([] if "ALS" in found.compared.methods else [missing]),
    )


def _asked_note(data: RetrievalData) -> str:
    """What is asked for, among what."""
    wanted = _wanted(data, "all")
    missed = sum(int((day.places[1] < 0).sum()) for day in data.judged)
    queries = sum(map(len, data.judged))
    return (
        f"Queries: {queries:,} of {sum(data.asked):,} users with a {data.task} on"
        f" a day, those who were served a vector (of {data.upstream}). Candidates: the items that"
        f" were served, {len(data.judged[-1].items_N):,} on the last day. Wanted: {wanted:,} items,"
        f" of which {missed:,} had no vector and count as missed."
    )


def _wanted(data: RetrievalData, group: str) -> int:
    return sum(
        len(day.wanted) if group == "all" else int((day.is_cold == (group == "cold")).sum())
        for day in data.judged
    )


def _rivals_note(found: Results) -> str:
    chosen = ", ".join(str(day.day) for day in found.data.earlier)
    return (
        f"Rivals learn every {found.data.task} before the day, and what the histories' seed holds;"
        " users unknown to one get the popular items. Their settings were chosen on"
        f" {chosen or 'no earlier day, for there is none'}. The best of them, afterwards, is"
        f" {found.rival}."
    )


def _charts(found: Results, confidence: float) -> tuple[Chart, ...]:
    return (
        Chart(
            "T8-days",
            f"T8: {found.title} by day",
            "lines",
            "day",
            found.title,
            tuple(_day_series(method, found.by_day[method]) for method in found.drawn),
            f"With {confidence:.0%} intervals over users and items.",
        ),
        Chart(
            "T8-items",
            f"T8: {found.title} of warm and cold items",
            "bars",
            found.title,
            "",
            tuple(_group_series(found, group) for group in GROUPS[1:]),
        ),
    )


def _day_series(method: str, days: Mapping[dt.date, Estimate]) -> Series:
    return Series(
        method,
        tuple(map(str, days)),
        tuple(made.value for made in days.values()),
        tuple(made.low for made in days.values()),
        tuple(made.high for made in days.values()),
    )


def _group_series(found: Results, group: str) -> Series:
    values = [_or_none(found.judged(method, group).value) for method in found.drawn]
    return Series(group, found.drawn, tuple(values))
