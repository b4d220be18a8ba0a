"""The rivals at their best: their settings are chosen on the days before the judged ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from headwater.config import PriorConfig
from headwater.console import Console
from headwater.studies.retrieval.days import RetrievalData, RetrievalDay
from headwater.studies.retrieval.methods import POPULAR, Ranker, Rankings
from headwater.studies.retrieval.ranking import places_of, recall_shares
from headwater.studies.retrieval.rivals import (
    POPULARITY_DAYS,
    SETTINGS,
    WEIGHTS,
    Factorisation,
    Fitted,
    implicit_is_here,
    popular,
    popularity_of,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Chosen:
    """The rivals' rankers, by name, and in words the settings of their methods."""

    rankers: Mapping[str, Ranker]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class _Blend:
    """A factorisation, alone and with the popularity of the last `prior_days` days added. Users
    that it does not know get what is popular in the `window`.
    """

    setting: Factorisation
    weight: float
    prior_days: int
    window: int | None

    def fit(self, day: RetrievalDay) -> Fitted:
        return self.setting.fit(day, popularity_of(day, self.window))

    def alone(self, fitted: Fitted, k: int) -> np.ndarray:
        return fitted.rank(k)

    def blended(self, fitted: Fitted, k: int) -> np.ndarray:
        return fitted.rank(k, self.weight * fitted.day.popularity(self.prior_days))

    def rank(self, day: RetrievalDay, k: int) -> Rankings:
        fitted = self.fit(day)
        kind = self.setting.kind
        return {kind: self.alone(fitted, k), kind + POPULAR: self.blended(fitted, k)}


def chosen_rivals(
    data: RetrievalData, k: int, prior: PriorConfig, console: Console, done: Callable[[], None]
) -> Chosen:
    """Popularity is chosen on all earlier days, factorisations on the last of them. Each rival that
    was chosen is `done`.
    """
    window = _best_window(data.earlier, k)
    done()
    rankers: dict[str, Ranker] = {
        "popularity": lambda day, k: {"popularity": popular(day, k, window)}
    }
    settings = {"popularity": f"positives of {_in_words(window)}"}
    if not implicit_is_here():
        console.log(
            "T8: ALS and BPR are left out, for `implicit` is not installed: `pip install implicit`"
        )
        return Chosen(rankers, settings)
    for kind, tried in SETTINGS.items():
        best = _best_blend(tried, data.earlier[-1:], k, prior.days, window)
        rankers[kind] = best.rank
        settings[kind] = f"{best.setting} (the best of {len(tried)})"
        settings[kind + POPULAR] = (
            f"the same, scores in standard deviations + {best.weight:g} log(1 + positives)"
        )
        done()
    return Chosen(rankers, settings)


def _best_window(days: Sequence[RetrievalDay], k: int) -> int | None:
    """Over how many days popularity is counted; None: over all."""
    return _best_of(
        POPULARITY_DAYS,
        lambda window: sum(mean_recall(popular(day, k, window), day, k) for day in days),
        days,
    )


def _in_words(window: int | None) -> str:
    if window is None:
        return "all days before"
    return "the day before" if window == 1 else f"the {window} days before"


def _best_blend(
    tried: Sequence[Factorisation],
    days: Sequence[RetrievalDay],
    k: int,
    prior_days: int,
    window: int | None,
) -> _Blend:
    """First the setting of the best factorisation alone, then the weight of popularity in it."""
    blends = [_Blend(setting, WEIGHTS[0], prior_days, window) for setting in tried]
    best = _best_of(
        blends,
        lambda blend: sum(mean_recall(blend.alone(blend.fit(day), k), day, k) for day in days),
        days,
    )
    fitted = [best.fit(day) for day in days]
    return _best_of(
        [replace(best, weight=weight) for weight in WEIGHTS],
        lambda blend: sum(mean_recall(blend.blended(made, k), made.day, k) for made in fitted),
        days,
    )


def mean_recall(rows_QK: np.ndarray, day: RetrievalDay, k: int) -> float:
    """Mean recall@k of a day's queries, of the rows [Q, K] that were retrieved for them."""
    query_M, column_M = day.places
    wanted_M = np.bincount(query_M)[query_M]
    shares_M = recall_shares(places_of(rows_QK, query_M, column_M), wanted_M, k)
    return float(shares_M.sum() / len(day))


def _best_of(tried: Sequence[T], score: Callable[[T], float], days: Sequence[RetrievalDay]) -> T:
    """The one of the highest score; the first where there are no days to score it on."""
    return max(tried, key=score) if days else tried[0]
