"""How the factory runs, from its days' reports: tables and charts of quality, coverage, movement,
gates and editions; a map of the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from headwater.config import SHUFFLED, Categorical
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.events.tables import collect, matching_files, scan
from headwater.ids import keys_of
from headwater.schema import Schema
from headwater.serving.reader import Reader

MAP_POINTS = 1500
MAP_GROUPS = 8
DRAWN_VARIANTS = ("none", "all", SHUFFLED)
FACTORY = "factory"  # stands where a table names its consumer
# Figures of the gates and monitors that are drawn day by day: title, unit, note.
MONITORS = {
    "cosine_median": (
        "Day-over-day cosine",
        "median cosine",
        "Of an entity's published vector with yesterday's, over entities seen again.",
    ),
    "domain AUC": (
        "Domain AUC",
        "ROC-AUC",
        "Can a classifier tell today's vectors from yesterday's? At 0.5 it cannot.",
    ),
    "neighbour overlap": (
        "Neighbours kept",
        "share",
        "Share of nearest neighbours kept since yesterday.",
    ),
    "effective rank": ("Effective rank", "directions", "Directions in use."),
    "age_mean_days": ("Age of vectors", "days", "Mean days since an entity was last seen."),
}


def operations(days: Sequence[Mapping[str, Any]], reader: Reader, schema: Schema) -> list[Table]:
    """The tables of operations; `days` are the reports of the days, oldest first."""
    return [days_table(days), gates_table(days[-1]), map_table(reader, schema)]


def days_table(days: Sequence[Mapping[str, Any]]) -> Table:
    """A row per day, newest first, with all its figures; the charts run from the oldest."""
    names = list(days[-1]["snapshots"])
    monitors = {
        check: {name: tuple(_figure(day, name, check) for day in days) for name in names}
        for check in MONITORS
    }
    rows = [
        {
            "day": day["day"],
            "rows": sum(day["rows"].values()),
            "rejected": _rejected(day["rejected"]),
            "by_force": "; ".join(day.get("forced", ())),
            "edition": day["edition"],
            "edition_short": day["edition"][:12],
            "coverage": day["coverage"],
            "quality": {
                consumer: {"day": judged["day"], **judged["roc_auc"]}
                for consumer, judged in day["quality"].items()
            },
            "monitors": {
                check: {name: monitors[check][name][n] for name in names} for check in MONITORS
            },
        }
        for n, day in enumerate(days)
    ]
    columns = [
        Column("day", "day"),
        Column("rows", "rows", ","),
        Column("edition_short", "edition"),
        Column("rejected", "rejected rows"),
    ]
    if any(row["by_force"] for row in rows):
        columns.append(Column("by_force", "published by force, over"))
    coverage = [value for value in days[-1]["coverage"].values() if value is not None]
    served = (
        f" On the last, {100 * min(coverage):.1f} % or more of the rows had a served vector of each"
        " kind."
        if coverage
        else ""
    )
    return Table(
        "days",
        "Day by day",
        FACTORY,
        days[0]["day"],
        days[-1]["day"],
        f"{len(days)} days were run.{served}",
        tuple(columns),
        tuple(reversed(rows)),
        (),
        (*_quality(days), _coverage(days, names), *_monitors(days, monitors)),
    )


def _quality(days: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """A chart per consumer: ROC-AUC of each judged day, by variant."""
    charts = []
    for consumer in dict.fromkeys(name for day in days for name in day["quality"]):
        by_variant: dict[str, dict[str, float]] = {}
        for judged in (day["quality"][consumer] for day in days if consumer in day["quality"]):
            for variant, value in judged["roc_auc"].items():
                if variant in DRAWN_VARIANTS and value is not None:
                    by_variant.setdefault(variant, {})[judged["day"]] = value
        line = tuple(day["day"] for day in days)
        series = tuple(
            Series(variant, line, tuple(found.get(day) for day in line))
            for variant, found in by_variant.items()
        )
        if series:
            charts.append(
                Chart(
                    f"day-quality-{consumer}",
                    f"{consumer.upper()} ranker, day by day",
                    "lines",
                    "day",
                    "ROC-AUC",
                    series,
                    "On each day's traffic, by the models of the evening before; mean over seeds.",
                )
            )
    return charts


def _coverage(days: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Chart:
    line = tuple(day["day"] for day in days)
    shares = {
        name: tuple(
            None if (share := day["coverage"].get(name)) is None else 100 * share for day in days
        )
        for name in names
    }
    return Chart(
        "day-coverage",
        "Coverage",
        "lines",
        "day",
        "% of rows",
        tuple(Series(name, line, values) for name, values in shares.items()),
        "Share of the day's rows whose entity had a served vector.",
    )


def _monitors(
    days: Sequence[Mapping[str, Any]],
    monitors: Mapping[str, Mapping[str, tuple[float | None, ...]]],
) -> list[Chart]:
    line = tuple(day["day"] for day in days)
    return [
        Chart(
            f"day-{check.replace(' ', '-').replace('_', '-').lower()}",
            title,
            "lines",
            "day",
            unit,
            tuple(Series(name, line, values) for name, values in monitors[check].items()),
            note,
        )
        for check, (title, unit, note) in MONITORS.items()
    ]


def gates_table(day: Mapping[str, Any]) -> Table:
    """What every snapshot was asked before it was published, check by check, and what it
    answered.
    """
    rows: dict[str, dict[str, Any]] = {}
    failed, asked = [], 0
    for name, snapshot in day["snapshots"].items():
        for gate in snapshot.get("gates", ()):
            row = rows.setdefault(gate["check"], {"check": gate["check"], "gates": {}})
            row["gates"][name] = {
                key: gate[key] for key in ("figure", "threshold", "passed", "reason")
            }
            row[f"{name}_shown"] = _shown(gate["figure"]) + ("" if gate["passed"] else " refused")
            asked += 1
            if not gate["passed"]:
                failed.append(f"{name}, {gate['check']}: {gate['reason']}.")
    for row in rows.values():
        bounds = sorted(
            {
                gate["threshold"]
                for gate in row["gates"].values()
                if gate["figure"] is not None and gate["threshold"] is not None
            }
        )
        row["threshold_shown"] = " to ".join(
            dict.fromkeys(_shown(bound) for bound in (*bounds[:1], *bounds[-1:]))
        )
    columns = (
        Column("check", "check"),
        *(Column(f"{name}_shown", name) for name in day["snapshots"]),
        Column("threshold_shown", "threshold"),
    )
    answer = f"{len(failed)} of {asked} checks failed." if failed else f"All {asked} checks passed."
    if day["forced"]:
        answer += f" The day was published by force, over: {'; '.join(day['forced'])}."
    return Table(
        "gates",
        "Gates of the last day",
        FACTORY,
        day["day"],
        day["day"],
        answer,
        columns,
        tuple(rows.values()),
        tuple(failed),
    )


def map_table(reader: Reader, schema: Schema) -> Table:
    """Item vectors of the live edition on their two main directions (PCA), coloured by a
    categorical feature of the items.
    """
    edition = reader.edition()
    name = next(name for name in edition.snapshots if name.endswith("_item"))
    snapshot = edition.read(name)
    at = np.linspace(0, len(snapshot) - 1, min(MAP_POINTS, len(snapshot))).astype(int)
    vectors = snapshot.vectors_ND[at].astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    shares = (sizes**2 / max(float((sizes**2).sum()), 1e-12))[:2]
    flat = np.round(centred @ directions[:2].T, 4).tolist()
    feature, labels = _labels(schema, snapshot.keys_N[at])
    common = (
        pl.Series(labels)
        .value_counts(sort=True)
        .sort("count", "", descending=[True, False])
        .to_series()
        .head(MAP_GROUPS)
        .to_list()
    )
    rows = tuple(
        {"item": str(value), "x": x, "y": y, "group": label if label in common else "other"}
        for (x, y), label, value in zip(flat, labels, snapshot.ids.gather(at), strict=True)
    )
    series = tuple(
        _cloud(group, [row for row in rows if row["group"] == group])
        for group in (*common, *(["other"] if "other" not in common else []))
    )
    note = (
        f"{len(rows):,} of {len(snapshot):,} live vectors {name} on their two main directions"
        f" ({' and '.join(f'{share:.0%}' for share in shares)} of their"
        f" variance){f', coloured by {feature}' if feature else ''}."
    )
    chart = Chart(
        "item-map",
        "A map of the items",
        "points",
        "first direction",
        "second direction",
        tuple(one for one in series if one.x),
        note,
    )
    return Table(
        "map",
        "A map of the items",
        FACTORY,
        str(edition.day),
        str(edition.day),
        "",
        (),
        rows,
        (),
        (chart,),
    )


def _cloud(name: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    return Series(
        name or "items",
        tuple(row["x"] for row in rows),
        tuple(row["y"] for row in rows),
        labels=tuple(row["item"] for row in rows),
    )


def _labels(schema: Schema, keys_N: np.ndarray) -> tuple[str, list[str]]:
    """The item table's categorical feature with a readable number of values, for each key."""
    item = schema.entities["item"]
    named = [name for name, kind in item.features.items() if isinstance(kind, Categorical)]
    if not named or item.key is None:
        return "", [""] * len(keys_N)
    frames = [
        collect(scan(file, (item.key, *named), "item"), file, "item")
        for file in matching_files(item.paths, "item")
    ]
    frame = pl.concat(frames, how="vertical_relaxed").with_columns(
        pl.col(named).cast(pl.String).fill_null("missing")
    )
    chosen = min(named, key=lambda name: abs(frame[name].n_unique() - 2 * MAP_GROUPS))
    label_of = dict(zip(keys_of(frame[item.key]).tolist(), frame[chosen].to_list(), strict=True))
    return chosen, [label_of.get(int(key), "missing") for key in keys_N]


def _figure(day: Mapping[str, Any], name: str, check: str) -> float | None:
    """A gate's figure, or another of a snapshot's."""
    snapshot = day["snapshots"].get(name, {})
    return next(
        (gate["figure"] for gate in snapshot.get("gates", ()) if gate["check"] == check),
        snapshot.get(check),
    )


def _rejected(by_log: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{log}: {n:,} x {reason}"
        for log, reasons in by_log.items()
        for reason, n in reasons.items()
    )


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"
