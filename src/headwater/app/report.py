"""The report: one HTML file that opens anywhere, offline. Pictures first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from headwater.config import Categorical, load_config, warehouse_of
from headwater.console import SILENT, Console
from headwater.errors import ExperimentError, StoreError
from headwater.events.tables import collect, matching_files, scan
from headwater.files import read_json, write_atomic
from headwater.ids import keys_of
from headwater.reader import Reader
from headwater.schema import Schema
from headwater.store import MAIN, Edition, read_catalog
from headwater.store.catalog import home_of
from headwater.tables import TABLES, Table, make_table

MAP_POINTS = 1500
MAP_COLOURS = 8
# Figures of the gates that are drawn day by day, and what to call them.
MONITORS = {
    "domain AUC": "Domain AUC: can a classifier tell today's vectors from yesterday's? 0.5 cannot",
    "neighbour overlap": "Share of nearest neighbours kept since yesterday",
    "effective rank": "Effective rank: directions in use",
    "age_mean_days": "Mean age of vectors, in days since last seen",
}


def write_report(factory: Path, tables: Sequence[Table] | None = None, console: Console = SILENT) -> Path:
    """Write `reports/index.html` in the factory's warehouse; `tables` saves making them again. Raises StoreError before the first day."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    config, root = load_config(factory), factory.resolve().parent
    warehouse = warehouse_of(config, root)
    live = read_catalog(warehouse).live
    home = home_of(warehouse, live.lane if live else MAIN)
    days = [read_json(path) for path in sorted((home / "reports").glob("????-??-??.json"))]
    if not days:
        raise StoreError(f"{warehouse}: no day was run yet, so there is nothing to report. `headwater run` or `backfill` comes first.")
    if tables is None:
        console.log("pooling the judged days, with bootstrap intervals")
        tables = []
        for name in TABLES:
            try:
                tables.append(make_table(config, root, name))
            except ExperimentError as error:
                console.log(f"{name} is left out: {error}")
    data = {
        "tables": [table.as_dict() for table in tables], "days": [day["day"] for day in days],
        "quality": quality_by_day(days), "coverage": [day["coverage"] for day in days],
        "cosine": {name: [day["snapshots"].get(name, {}).get("cosine_median") for day in days] for name in days[-1]["snapshots"]},
        "monitors": {title: monitor_by_day(days, check) for check, title in MONITORS.items()},
        "rejected": {day["day"]: day["rejected"] for day in days if any(day["rejected"].values())},
        "map": item_map(Reader(config, root), Schema.from_config(config, root), f"{next(iter(config.upstreams))}_item"),
    }  # fmt: skip
    status = Reader(config, root).status()
    environment = Environment(loader=PackageLoader("headwater.app", "."), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("report.html").render(
        config=config, config_yaml=yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, default_flow_style=None, width=110),
        tables=tables, days=days, status=status, data_monitors=list(MONITORS.values()), verdicts=[verdict(table) for table in tables],
        data=json.dumps(data).replace("</", "<\\/"),
        echarts=files("headwater.app").joinpath("vendor/echarts.min.js").read_text(),
    )  # fmt: skip
    path = warehouse / "reports" / "index.html"
    write_atomic(path, page)
    return path


def verdict(table: Table) -> str:
    """The answer in one sentence: does it help, how much, how sure."""
    arms = {row.arm: row for row in table.rows}
    best = arms.get("all") or max(table.rows, key=lambda row: row.roc_auc)
    base, reading = arms["none"], "reading all embeddings" if best.arm == "all" else f"the arm {best.arm}, the best of {len(arms)} afterwards,"
    if best.low > 0:
        found = f"{reading} raises ROC-AUC by {best.roc_auc_lift_pct:.2f} % (interval {best.low:.2f} to {best.high:.2f})"
    elif best.high < 0:
        found = f"{reading} lowers ROC-AUC by {-best.roc_auc_lift_pct:.2f} % (interval {best.low:.2f} to {best.high:.2f})"
    else:
        found = f"no effect is shown: {best.roc_auc_lift_pct:+.2f} %, and the interval {best.low:.2f} to {best.high:.2f} holds zero"
    control = arms.get("shuffled")
    if control is None:
        checked = ""
    elif control.low > 0:
        checked = f" Beware: the shuffled control lifts too ({control.roc_auc_lift_pct:+.2f} %), so the gain is not the vectors' own."
    else:
        checked = f" The shuffled control does not lift ({control.roc_auc_lift_pct:+.2f} %)."
    return f"{table.consumer.upper()} ranker: {found}, from {base.roc_auc:.4f} without.{checked}"


def monitor_by_day(days: Sequence[dict[str, Any]], check: str) -> dict[str, list[float | None]]:
    """A gate's figure (or another of a snapshot's) by snapshot and day."""
    found: dict[str, list[float | None]] = {}
    for name in days[-1]["snapshots"]:
        of_days = [day["snapshots"].get(name, {}) for day in days]
        found[name] = [next((gate["figure"] for gate in of_day.get("gates", ()) if gate["check"] == check), of_day.get(check)) for of_day in of_days]
    return found


def quality_by_day(days: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """ROC-AUC by consumer, arm and judged day."""
    found: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for day in days:
        for consumer, judged in day["quality"].items():
            for arm, value in judged["roc_auc"].items():
                if value is not None:
                    found.setdefault(consumer, {}).setdefault(arm, []).append((judged["day"], value))
    return found


def item_map(reader: Reader, schema: Schema, name: str) -> dict[str, Any]:
    """Item vectors of the live edition on their two main directions (PCA), coloured by the first categorical feature."""
    edition: Edition = reader.edition()
    snapshot = edition.read(name)
    rows = np.linspace(0, len(snapshot) - 1, min(MAP_POINTS, len(snapshot))).astype(int)
    vectors = snapshot.vectors_ND[rows].astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ directions[:2].T
    shares = (sizes**2 / max(float((sizes**2).sum()), 1e-12))[:2]
    feature, labels = _labels(schema, snapshot.keys_N[rows])
    common = [str(value) for value in pl.Series(labels).value_counts(sort=True).to_series().head(MAP_COLOURS)]
    groups: dict[str, list[list[Any]]] = {}
    for (x, y), label, value in zip(flat, labels, snapshot.ids.gather(rows), strict=True):
        groups.setdefault(label if label in common else "other", []).append([round(float(x), 4), round(float(y), 4), str(value)])
    return {"name": name, "feature": feature, "groups": groups, "shares": [float(share) for share in shares], "items": len(snapshot)}


def _labels(schema: Schema, keys_N: np.ndarray) -> tuple[str, list[str]]:
    """The item table's categorical feature with a readable number of values, for each key."""
    item = schema.entities["item"]
    named = [name for name, kind in item.features.items() if isinstance(kind, Categorical)]
    if not named or item.key is None:
        return "", [""] * len(keys_N)
    frames = [collect(scan(file, (item.key, *named), "item"), file, "item") for file in matching_files(item.paths, "item")]
    frame = pl.concat(frames, how="vertical_relaxed").with_columns(pl.col(named).cast(pl.String).fill_null("missing"))
    chosen = min(named, key=lambda name: abs(frame[name].n_unique() - 2 * MAP_COLOURS))
    label_of = dict(zip(keys_of(frame[item.key]).tolist(), frame[chosen].to_list(), strict=True))
    return chosen, [label_of.get(int(key), "missing") for key in keys_N]
