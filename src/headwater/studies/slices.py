"""Slices: whom the embeddings help. New, light and heavy users; new and old items; and every
context feature with few values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from headwater.config import SHUFFLED, Categorical
from headwater.errors import ExperimentError, LogError
from headwater.evaluation import Chart, Column, Judged, Series, Table, quick_lift
from headwater.evaluation.lift import LEAST_USERS
from headwater.events import ExampleReader
from headwater.events.cleaning import TIME
from headwater.studies.lifts import reading_variant
from headwater.workspace import Workspace

NEW_ITEM_DAYS = 2
MOST_VALUES = 20  # a context feature with more is no slicing
LEAST_ROWS = 200
COLUMNS = (
    Column("slice", "slice"),
    Column("value", "rows of"),
    Column("n", "rows", ",d"),
    Column("users", "users", ",d"),
    Column("rate", "positive", ".1%"),
    Column("base_roc_auc", "ROC-AUC without", ".4f"),
    Column("roc_auc", "with", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column(
        "shuffled_roc_auc_lift_pct", "shuffled, lift %", "+.2f", "shuffled_low", "shuffled_high"
    ),
    Column("rows_needed", "rows needed", ".2g"),
)


def slice_table(workspace: Workspace, consumer: str, judged: Judged) -> Table:
    """The lift of the variant that reads all embeddings (or, without one, of the last that reads
    any) on each slice of the judged rows, with p values corrected over all slices. Raises
    ExperimentError.
    """
    variant = reading_variant(judged.scores)
    if variant == "none":
        raise ExperimentError(
            f"slices: no variant of {consumer!r} reads embeddings; judged are:"
            f" {', '.join(judged.scores)}. Add one under variants."
        )
    control = [SHUFFLED] if SHUFFLED in judged.scores and variant != SHUFFLED else []
    pair = replace(
        judged, scores={name: judged.scores[name] for name in ("none", variant, *control)}
    )
    rows, left_out = list[dict[str, Any]](), list[str]()
    for name, value, chosen_N in slices_of(workspace, consumer, pair):
        part = pair.take(np.flatnonzero(chosen_N))
        if (
            len(part.labels_N) < LEAST_ROWS
            or len(np.unique(part.users_N)) < LEAST_USERS
            or not part.has_two_classes
        ):
            left_out.append(f"{name} {value} ({len(part.labels_N)})")
            continue
        lift = quick_lift(part, variant, workspace.config.evaluation.confidence)
        of_control = {
            f"shuffled_{key}": value
            for key, value in (
                quick_lift(part, SHUFFLED, workspace.config.evaluation.confidence).as_json()
                if control
                else {}
            ).items()
            if key in ("roc_auc_lift_pct", "low", "high")
        }
        rows.append(
            of_control
            | {
                "slice": name,
                "value": value,
                "users": len(np.unique(part.users_N)),
                "rate": float(part.labels_N.mean()),
                "base_roc_auc": lift.roc_auc / (1 + lift.roc_auc_lift_pct / 100),
            }
            | lift.as_json()
        )
    rows = _corrected(rows)
    notes = [
        "New users and items are counted from this log's first day on; a user's rows before the"
        " day decide between light (fewer than the median of those with any) and heavy. A new item"
        f" was first seen at most {NEW_ITEM_DAYS} days before. p values are corrected over all"
        " slices (Holm); intervals, in closed form over users and seeds, are not."
    ]
    if left_out:
        notes.append(
            f"Left out, with fewer than {LEAST_ROWS} rows or {LEAST_USERS} users, or one class"
            f" only: {', '.join(left_out)}."
        )
    labels = tuple(f"{row['slice']}: {row['value']}" for row in rows)
    values, low, high = (
        tuple(row[key] for row in rows) for key in ("roc_auc_lift_pct", "low", "high")
    )
    bars = Series("lift", labels, values, low, high)
    chart = Chart(
        f"slices-{consumer}",
        f"Lift of the {consumer.upper()} ranker by slice",
        "bars",
        "lift of ROC-AUC, %",
        "",
        (bars,),
        f"The variant {variant} against none, with intervals.",
    )
    span, answer = (
        (str(judged.day(0)), str(judged.day(-1))),
        _answer(consumer, rows, workspace.config.evaluation.confidence),
    )
    return Table(
        "slices",
        f"slices of the {consumer.upper()} ranker",
        consumer,
        *span,
        answer,
        COLUMNS,
        tuple(rows),
        tuple(notes),
        (chart,),
    )


def _answer(consumer: str, rows: list[dict[str, Any]], confidence: float) -> str:
    def listed(chosen: list[dict[str, Any]]) -> str:
        return ", ".join(
            f"{row['slice']} {row['value']} ({row['roc_auc_lift_pct']:+.2f} %)" for row in chosen
        )

    sure = 1 - confidence
    gains = sorted(
        (row for row in rows if row["p_holm"] < sure and row["roc_auc_lift_pct"] > 0),
        key=lambda row: -row["roc_auc_lift_pct"],
    )
    losses = [row for row in rows if row["p_holm"] < sure and row["roc_auc_lift_pct"] < 0]
    found = (
        f"of {len(rows)} slices {len(gains)} are shown to gain (p < {sure:.2g} after correction)"
        + (f", most of all {listed(gains[:3])}" if gains else "")
    )
    return f"{consumer.upper()} ranker: {found}. " + (
        f"Worse with embeddings: {listed(losses)}." if losses else "None is shown to lose."
    )


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Holm over all slices, in place of each one's own."""
    worst = 0.0
    for rank, row in enumerate(sorted(rows, key=lambda row: row["p_value"])):
        worst = max(worst, min(1.0, (len(rows) - rank) * float(row["p_value"])))
        row["p_holm"] = worst
    return rows


def slices_of(
    workspace: Workspace, consumer: str, judged: Judged
) -> Iterator[tuple[str, str, np.ndarray]]:
    """(what is sliced by, value, which rows)."""
    config, reader = workspace.config, workspace.events()
    log = config.tasks[config.downstream[consumer].task].log
    features = [
        name for name, kind in config.logs[log].features.items() if isinstance(kind, Categorical)
    ]
    context, before, first_seen = _walk(reader, log, judged, features)
    seen_before = before[before > 0]
    median = float(np.median(seen_before)) if len(seen_before) else 0
    yield "user", "new", before == 0
    yield "user", "light", (before > 0) & (before < median)
    yield "user", "heavy", (before > 0) & (before >= median)
    new = judged.days_N - first_seen <= NEW_ITEM_DAYS
    yield "item", "never seen before that day", judged.days_N == first_seen
    yield "item", "new", new
    yield "item", "old", ~new
    for name in features:
        values, counts = np.unique(context[name], return_counts=True)
        if 1 < len(values) <= MOST_VALUES:
            for value in values[np.argsort(-counts, kind="stable")]:
                yield name, str(value), context[name] == value


def _walk(
    reader: ExampleReader, log: str, judged: Judged, features: list[str]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Context values as text, rows of the user before the day, and the day the item was first seen
    (ordinal), for each judged row.
    """
    assert judged.items_N is not None
    assert judged.times_us_N is not None
    n, source = len(judged.labels_N), reader.logs[log]
    context = {name: np.full(n, "missing", object) for name in features}
    before, first_seen = np.zeros(n, np.int64), np.zeros(n, np.int64)
    rows_of, first_of = (
        pl.DataFrame(schema={"user": pl.UInt64, "rows": pl.UInt32}),
        pl.DataFrame(schema={"item": pl.UInt64, "first": pl.Int64}),
    )
    span = source.span()
    assert span is not None
    if judged.days_N.min() < span[0].toordinal():
        raise ExperimentError(
            f"slices: the log begins on {span[0]} now, and the first judged day is"
            f" {judged.day(int(judged.days_N.argmin()))}. Put the log back, or set evaluation.start"
            " to a later day."
        )
    for ordinal in range(span[0].toordinal(), int(judged.days_N.max()) + 1):
        mine = np.flatnonzero(judged.days_N == ordinal)
        try:
            events = source.day(dt.date.fromordinal(ordinal))
        except LogError:
            if len(mine):
                raise
            continue  # a day without rows, which nobody was judged on
        users, items = events.keys("user"), events.keys("item")
        today = pl.DataFrame({"item": items}).unique().with_columns(first=pl.lit(ordinal, pl.Int64))
        first_of = pl.concat([first_of, today]).group_by("item").agg(pl.col("first").min())
        if len(mine):
            asked = pl.DataFrame(
                {
                    "user": judged.users_N[mine],
                    "item": judged.items_N[mine],
                    "time": judged.times_us_N[mine],
                }
            )
            before[mine] = (
                asked.join(rows_of, on="user", how="left", maintain_order="left")["rows"]
                .fill_null(0)
                .to_numpy()
            )
            first_seen[mine] = (
                asked.join(first_of, on="item", how="left", maintain_order="left")["first"]
                .fill_null(ordinal)
                .to_numpy()
            )
            told = pl.DataFrame(
                {"user": users, "item": items, "time": events.frame[TIME].to_numpy()}
            ).with_columns(
                events.frame[name].cast(pl.String).fill_null("missing").alias(f"={name}")
                for name in features
            )
            known = asked.join(
                told.unique(["user", "item", "time"], keep="first"),
                on=["user", "item", "time"],
                how="left",
                maintain_order="left",
            )
            for name in features:
                context[name][mine] = known[f"={name}"].fill_null("missing").to_numpy()
        rows_of = (
            pl.concat([rows_of, pl.DataFrame({"user": users}).group_by("user").agg(rows=pl.len())])
            .group_by("user")
            .agg(pl.col("rows").sum())
        )
    return context, before, first_seen
