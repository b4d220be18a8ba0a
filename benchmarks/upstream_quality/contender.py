"""What every contender's driver shares: rows by day, columns in the form that label-encoding
libraries read, and how scores are handed back.

A driver is `python -m benchmarks.upstream_quality.NAME FOLDER MODEL SETTING(json) SEEDS UNTIL
PREDICT OUT`, days as ordinals. It needs numpy and torch alone, for it runs in the contender's own
environment. Shape suffixes as in arrays.py.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, BATCH, MLP = 16, 1024, (256, 128)
CLICKED = 2  # an action mask with its first bit, plus one
NAMES = ("user_id", "video_id", "author_id")
BEHAVIOURS = (
    "video_id",
    "author_id",
    "act",
)  # what DIN attends by; the candidate's own `act` is constant


@dataclass(frozen=True)
class Job:
    """One model of one library, its setting, the seeds to run and the days: learn all before and on
    `until`, then score `predict`.
    """

    folder: Path
    model: str
    setting: dict[str, Any]
    seeds: tuple[int, ...]
    until: int
    predict: int
    out: Path

    @classmethod
    def of_arguments(cls) -> Job:
        folder, model, setting, seeds, until, predict, out = sys.argv[1:]
        return cls(
            Path(folder),
            model,
            json.loads(setting),
            tuple(map(int, seeds.split(","))),
            int(until),
            int(predict),
            Path(out),
        )

    def load(self, name: str) -> np.ndarray:
        return np.asarray(np.load(self.folder / "arrays" / f"{name}.npy"))

    def run(self, fit_and_score: Callable[[int], np.ndarray]) -> None:
        """For each seed, learn and score; write scores, [S, N], and seconds of one core, [S]."""
        scores, seconds = [], []
        for seed in self.seeds:
            start = (
                time.process_time()
            )  # what another process takes of the processor does not count
            scores.append(np.asarray(fit_and_score(seed), np.float64).ravel())
            seconds.append(time.process_time() - start)
        np.savez(self.out, scores=np.stack(scores), seconds=seconds)


@dataclass(frozen=True)
class Table:
    """Columns of all rows: `sparse` label-encoded with their sizes, `dense` numbers, scaled,
    `sequences` of ids by the sparse column whose table they share (None: their own), 0 being
    padding; which rows to learn and which to score.
    """

    sparse: dict[str, np.ndarray]
    sizes: dict[str, int]
    dense_NF: np.ndarray
    sequences: dict[str, tuple[np.ndarray, str | None, int]]
    lengths_N: np.ndarray
    labels_N: np.ndarray
    learn_M: np.ndarray
    score_M: np.ndarray


def table_of(job: Job) -> Table:
    day, sparse_NC, numbers = job.load("day_N"), job.load("sparse_NC"), job.load("numbers_NF")
    learn, score = np.flatnonzero(day <= job.until), np.flatnonzero(day == job.predict)
    sparse = {name: sparse_NC[:, c] for c, name in enumerate(columns_of(sparse_NC))}
    videos, authors, actions = (job.load(f"{name}_NL") for name in ("videos", "authors", "actions"))
    n_videos, n_authors = (
        int(max(sparse[name].max(), past.max())) + 1
        for name, past in (("video_id", videos), ("author_id", authors))
    )
    sizes = {name: int(values.max()) + 1 for name, values in sparse.items()} | {
        "video_id": n_videos,
        "author_id": n_authors,
    }
    clicked = (actions - 1) & 1 == 1
    tags = job.load("tags_NK")
    sequences: dict[str, tuple[np.ndarray, str | None, int]] = {
        "hist_video_id": (videos, "video_id", n_videos),
        "hist_author_id": (authors, "author_id", n_authors),
        "hist_act": (actions, None, 8),
        "clicked_video_id": (_packed(videos, clicked & (videos > 0)), "video_id", n_videos),
        "tags": (tags, None, int(tags.max()) + 1),
    }
    return Table(
        sparse,
        sizes,
        scaled(numbers, learn),
        sequences,
        (videos > 0).sum(1),
        job.load("label_N"),
        learn,
        score,
    )


def columns_of(sparse_NC: np.ndarray) -> list[str]:
    return [*NAMES, *(f"c{c}" for c in range(len(NAMES), sparse_NC.shape[1]))]


def _packed(ids_NL: np.ndarray, keep_NL: np.ndarray) -> np.ndarray:
    """Those kept, moved to the front, 0 behind them."""
    order = np.argsort(~keep_NL, axis=1, kind="stable")
    return np.take_along_axis(np.where(keep_NL, ids_NL, 0), order, axis=1)


def scaled(numbers_NF: np.ndarray, learn_M: np.ndarray) -> np.ndarray:
    """Centred and scaled by the rows to learn, missing as 0 with a flag column beside."""
    some = numbers_NF[learn_M]
    missing = np.isnan(numbers_NF)
    values = (numbers_NF - np.nanmean(some, axis=0)) / np.maximum(np.nanstd(some, axis=0), 1e-3)
    flags = missing[:, np.isnan(some).any(axis=0)]
    return np.hstack([np.where(missing, 0, np.clip(values, -5, 5)), flags]).astype(np.float32)
