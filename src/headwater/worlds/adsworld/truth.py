"""What nobody outside a simulation knows: the true probabilities, and the best AUC there can be."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score


def best_reachable(folder: Path, start: dt.date, end: dt.date) -> dict[str, float]:
    """ROC-AUC of the true probabilities over the days: no model can do better. NaN: of one class.

    Of a world of ads, pooled: of `click` over all impressions, and of `conversion` over clicked
    ones.

    Of a world of churn, of `click` pooled over all impressions; `click_daily`, the row-weighted
    mean of each day's; `click_in_request`, the mean over pages of the share of its other items that
    the clicked one stands above (equals: half); and `long_click` and `long_click_daily` over
    clicked impressions. The rows of a page depend on one another, for one click takes all others'
    away (see `pages.py`); yet each of the three counts pairs of a clicked row and another, and of
    two rows, of one page or of two, the likelier one is best put first, so that no order of rows is
    expected to do better than that of the true probabilities. These know the whole page: its other
    items stand below the line of the softmax. `click_row_by_row` is the pooled ROC-AUC of the true
    utility, which knows the row alone: no bound, but near what a ranker that scores each row by
    itself can reach; within a page both give the same order.
    """
    return (
        _best_of_pages(folder, start, end)
        if _has_pages(folder)
        else _best_of_ads(folder, start, end)
    )


def _has_pages(folder: Path) -> bool:
    return not (folder / "purchases").is_dir()


def _best_of_ads(folder: Path, start: dt.date, end: dt.date) -> dict[str, float]:
    purchases = (
        pl.scan_parquet(folder / "purchases" / "*.parquet")
        .select("impression_id")
        .drop_nulls()
        .unique()
        .collect()
    )
    rows = _rows(folder, start, end, ["is_click"]).with_columns(
        bought=pl.col("impression_id").is_in(purchases["impression_id"].implode())
    )
    clicked = rows.filter(pl.col("is_click") == 1)
    return {
        "click": _auc(rows, "is_click", "p_click"),
        "conversion": _auc(clicked, "bought", "p_conversion"),
    }


def _best_of_pages(folder: Path, start: dt.date, end: dt.date) -> dict[str, float]:
    rows = _rows(folder, start, end, ["request_id", "is_click", "is_long_click"])
    clicked = rows.filter(pl.col("is_click") == 1)
    return {
        "click": _auc(rows, "is_click", "p_click"),
        "click_daily": _daily_auc(rows, "is_click", "p_click"),
        "click_in_request": _auc_in_requests(rows),
        "click_row_by_row": _auc(rows, "is_click", "utility"),
        "long_click": _auc(clicked, "is_long_click", "p_long_click"),
        "long_click_daily": _daily_auc(clicked, "is_long_click", "p_long_click"),
    }


def _rows(folder: Path, start: dt.date, end: dt.date, columns: list[str]) -> pl.DataFrame:
    """The impressions of the days with what is true of them, and their `day`."""
    frames = []
    for file in sorted((folder / "impressions").glob("*.parquet")):
        day = dt.date.fromisoformat(file.stem[:10])
        if start <= day <= end:
            truth = pl.read_parquet(folder / "truth" / file.name)
            shown = pl.read_parquet(file, columns=["impression_id", *columns])
            frames.append(shown.join(truth, on="impression_id").with_columns(day=pl.lit(day)))
    return pl.concat(frames)


def _auc(rows: pl.DataFrame, label: str, score: str) -> float:
    if rows[label].n_unique() != 2:
        return float(np.nan)
    return float(roc_auc_score(rows[label].to_numpy(), rows[score].to_numpy()))


def _daily_auc(rows: pl.DataFrame, label: str, score: str) -> float:
    """Row-weighted mean of each day's ROC-AUC, over the days that have both classes."""
    days = rows.partition_by("day", maintain_order=True)
    found = [(_auc(day, label, score), len(day)) for day in days]
    known = [(auc, weight) for auc, weight in found if not np.isnan(auc)]
    if not known:
        return float(np.nan)
    aucs, weights = zip(*known, strict=True)
    return float(np.average(aucs, weights=weights))


def _auc_in_requests(rows: pl.DataFrame) -> float:
    """Mean over requests, each of one click, of the share of others below the clicked row."""
    clicked = rows.filter(pl.col("is_click") == 1).select("request_id", chosen="p_click")
    others = rows.filter(pl.col("is_click") == 0).join(clicked, on="request_id")
    above, equal = (pl.col("chosen") > pl.col("p_click")), (pl.col("chosen") == pl.col("p_click"))
    won = above.cast(pl.Float64) + 0.5 * equal.cast(pl.Float64)
    shares = others.group_by("request_id", maintain_order=True).agg(won.mean().alias("share"))
    return float(shares["share"].mean())  # type: ignore[arg-type]
