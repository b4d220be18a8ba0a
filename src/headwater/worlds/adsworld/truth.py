"""What nobody outside a simulation knows: the true probabilities, and so the best AUC that any
model can reach.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score


def best_reachable(folder: Path, start: dt.date, end: dt.date) -> dict[str, float]:
    """ROC-AUC of the true probabilities for `click` (all impressions) and `conversion` (clicked
    ones), pooled over the days.
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
            frames.append(
                pl.read_parquet(file, columns=["impression_id", "is_click"]).join(
                    truth, on="impression_id"
                )
            )
    rows = pl.concat(frames).with_columns(
        bought=pl.col("impression_id").is_in(purchases["impression_id"].implode())
    )
    clicked = rows.filter(pl.col("is_click") == 1)
    return {
        "click": float(roc_auc_score(rows["is_click"].to_numpy(), rows["p_click"].to_numpy())),
        "conversion": (
            float(roc_auc_score(clicked["bought"].to_numpy(), clicked["p_conversion"].to_numpy()))
            if clicked["bought"].n_unique() == 2
            else float(np.nan)
        ),
    }
