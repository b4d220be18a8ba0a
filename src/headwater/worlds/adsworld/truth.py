"""What nobody outside a simulation knows: the true probabilities, and the best AUC there can be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score


def best_reachable(folder: Path, start: dt.date, end: dt.date) -> dict[str, float]:
    """ROC-AUC of the true probabilities, pooled over the days: no model can do better.

    Of `click` over all impressions, and of `conversion` over clicked ones (NaN: of one class).
    """
    purchases = (
        pl.scan_parquet(folder / "purchases" / "*.parquet")
        .select("impression_id")
        .drop_nulls()
        .unique()
        .collect()
    )
    frames = []
    for file in sorted((folder / "impressions").glob("*.parquet")):
        if start <= dt.date.fromisoformat(file.stem[:10]) <= end:
            truth = pl.read_parquet(folder / "truth" / file.name)
            shown = pl.read_parquet(file, columns=["impression_id", "is_click"])
            frames.append(shown.join(truth, on="impression_id"))
    rows = pl.concat(frames).with_columns(
        bought=pl.col("impression_id").is_in(purchases["impression_id"].implode())
    )
    clicked = rows.filter(pl.col("is_click") == 1)
    return {
        "click": _auc(rows["is_click"], rows["p_click"]),
        "conversion": (
            _auc(clicked["bought"], clicked["p_conversion"])
            if clicked["bought"].n_unique() == 2
            else float(np.nan)
        ),
    }


def _auc(labels: pl.Series, scores: pl.Series) -> float:
    return float(roc_auc_score(labels.to_numpy(), scores.to_numpy()))
