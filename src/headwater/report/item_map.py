"""A map of the items: their live vectors on two directions, coloured by a feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl

from headwater.config import Categorical
from headwater.evaluation.table import Chart, Series, Table
from headwater.events.tables import collect, matching_files, scan
from headwater.ids import keys_of
from headwater.schema import Schema
from headwater.serving.reader import Reader

MAP_POINTS = 1500
MAP_GROUPS = 8


@dataclass(frozen=True)
class _Point:
    """An item on the map."""

    item: str
    x: float
    y: float
    group: str


def map_table(reader: Reader, schema: Schema, consumer: str) -> Table:
    """Item vectors of the live edition on their two main directions (PCA).

    They are coloured by a categorical feature of the items, where there is one. `consumer` stands
    where a table names its consumer.
    """
    edition = reader.edition()
    name = next(name for name in edition.snapshots if name.endswith("_item"))
    snapshot = edition.read(name)
    rows_M = np.linspace(0, len(snapshot) - 1, min(MAP_POINTS, len(snapshot))).astype(int)
    places_M2, shares = _main_directions(snapshot.vectors_ND[rows_M])
    feature, labels = _labels(schema, snapshot.keys_N[rows_M])
    common = _most_common(labels)
    points = [
        _Point(str(item), x, y, label if label in common else "other")
        for (x, y), label, item in zip(
            places_M2.tolist(), labels, snapshot.ids.gather(rows_M), strict=True
        )
    ]
    groups = list(dict.fromkeys([*common, "other"]))
    clouds = [_cloud(group, [one for one in points if one.group == group]) for group in groups]
    coloured = f", coloured by {feature}" if feature else ""
    of_variance = " and ".join(f"{share:.0%}" for share in shares)
    chart = Chart(
        name="item-map",
        title="A map of the items",
        kind="points",
        x_title="first direction",
        y_title="second direction",
        series=tuple(cloud for cloud in clouds if cloud.x),
        note=(
            f"{len(points):,} of {len(snapshot):,} live vectors {name} on their two main directions"
            f" ({of_variance} of their variance){coloured}."
        ),
    )
    return Table(
        name="map",
        title="A map of the items",
        consumer=consumer,
        first_day=str(edition.day),
        last_day=str(edition.day),
        answer="",
        columns=(),
        rows=tuple(asdict(point) for point in points),
        charts=(chart,),
    )


def _main_directions(vectors_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places [M, 2] of vectors on their two main directions, and the shares of the variance
    that these hold.
    """
    centred_MD = vectors_MD.astype(np.float64)
    centred_MD -= centred_MD.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred_MD, full_matrices=False)
    shares = (sizes**2 / max(float((sizes**2).sum()), 1e-12))[:2]
    return np.round(centred_MD @ directions[:2].T, 4), shares


def _most_common(labels: Sequence[str]) -> list[str]:
    """The labels that have a colour of their own: the most frequent, equally frequent by name."""
    counted = pl.Series(labels).value_counts(sort=True)
    ranked = counted.sort("count", "", descending=[True, False])
    return ranked.to_series().head(MAP_GROUPS).to_list()


def _cloud(name: str, points: Sequence[_Point]) -> Series:
    return Series(
        name or "items",
        tuple(point.x for point in points),
        tuple(point.y for point in points),
        labels=tuple(point.item for point in points),
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
