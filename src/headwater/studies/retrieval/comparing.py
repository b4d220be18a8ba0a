"""Every method on every judged day: what it retrieved, and how much of it was wanted. Shapes: Q
queries (of all days), K retrieved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from headwater.config import FactoryConfig, PriorConfig
from headwater.console import Console
from headwater.studies.retrieval.days import GROUPS, RetrievalData, RetrievalDay
from headwater.studies.retrieval.ours import bias_of, rank_exact, rank_through
from headwater.studies.retrieval.ranking import best_rows, hits_of, ndcg_at, overlap, recall_at
from headwater.studies.retrieval.rivals import (
    POPULARITY_DAYS,
    SETTINGS,
    WEIGHTS,
    Factorisation,
    Fitted,
    best_of,
    implicit_is_here,
    mean_recall,
    popular,
)

Ranker = Callable[[RetrievalDay, int], dict[str, np.ndarray]]  # rows [Q, k] by method
POPULAR = " + popularity"
RIVALS = ("popularity", "ALS", "BPR")
ORDER = (
    "exact",
    "exact" + POPULAR,
    *RIVALS,
    "ALS" + POPULAR,
    "BPR" + POPULAR,
    "shuffled",
    "random",
)
FLAT = {"exact"}  # kinds of index that are no approximation: another is measured in their place


@dataclass(frozen=True)
class Compared:
    """`metrics[method][group][metric]` of every query, [Q], NaN where it has no such item;
    `overlap` with exact search, by method.
    """

    users_Q: np.ndarray
    days_Q: np.ndarray
    metrics: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]
    overlap: Mapping[str, float]
    settings: Mapping[str, str]


def compare(
    config: FactoryConfig, data: RetrievalData, ks: tuple[int, ...], console: Console
) -> Compared:
    """Rankings of every method, `max(ks)` long, judged. Settings of the rivals are chosen on the
    days before the judged ones.
    """
    most, prior = max(ks), config.retrieval.prior or PriorConfig()
    index = config.index.kind if config.index.kind not in FLAT else "hnsw"
    with (
        threadpool_limits(1, "blas"),
        console.progress("T8", len(SETTINGS) + 1 + len(data.judged)) as bar,
    ):
        rivals, settings = chosen_rivals(data, most, prior, console, bar.advance)
        rankers: dict[str, Ranker] = {
            "ours": partial(ours, index, prior, data.temperature),
            **rivals,
        }
        judged, shared = [], []
        with ThreadPoolExecutor(
            2
        ) as pool:  # factorisations, one thread each, let go of the interpreter
            for day in data.judged:
                rows: dict[str, np.ndarray] = {}
                for made in pool.map(
                    lambda rank, day=day: rank(day, most), reversed(rankers.values())
                ):
                    rows |= made
                judged.append(judge(day, rows, ks))
                shared.append(
                    {
                        index + name: overlap(rows[index + name], rows["exact" + name])
                        for name in ("", POPULAR)
                    }
                )
                console.log(f"T8 {day.day}", queries=f"{len(day):,}")
                bar.advance()
    methods = sorted(judged[0], key=(*ORDER, index, index + POPULAR).index)
    metrics = {
        method: {
            group: {
                metric: np.concatenate([found[method][group][metric] for found in judged])
                for metric in judged[0][method][group]
            }
            for group in GROUPS
        }
        for method in methods
    }
    sizes = [len(day) for day in data.judged]
    averaged = {
        name: float(np.average([found[name] for found in shared], weights=sizes))
        for name in shared[0]
    }
    days = np.repeat([day.day.toordinal() for day in data.judged], sizes)
    return Compared(
        np.concatenate([day.users_Q for day in data.judged]), days, metrics, averaged, settings
    )


def ours(
    index: str, prior: PriorConfig, temperature: float, day: RetrievalDay, k: int
) -> dict[str, np.ndarray]:
    """Exact and through the index, with popularity and without; with popularity and another user's
    vector; and at random.
    """
    bias_N, generator = bias_of(day, prior, temperature), np.random.default_rng(day.day.toordinal())
    dealt = replace(day, queries_QD=day.queries_QD[generator.permutation(len(day))])
    return {
        "exact": rank_exact(day, k, None),
        "exact" + POPULAR: rank_exact(day, k, bias_N),
        index: rank_through(index, day, k, None),
        index + POPULAR: rank_through(index, day, k, bias_N),
        "shuffled": rank_exact(
            dealt, k, bias_N
        ),  # popularity and other users' vectors: the control
        "random": best_rows(
            lambda some: generator.random((some.stop - some.start, len(day.items_N)), np.float32),
            len(day),
            k,
            day.met,
        ),
    }


def chosen_rivals(
    data: RetrievalData, k: int, prior: PriorConfig, console: Console, done: Callable[[], None]
) -> tuple[dict[str, Ranker], dict[str, str]]:
    """The rivals at their best, and with which settings: popularity on all earlier days,
    factorisations on the last of them.
    """
    window = best_of(
        POPULARITY_DAYS,
        lambda days: sum(mean_recall(popular(day, k, days), day, k) for day in data.earlier),
        data.earlier,
    )
    done()
    rankers: dict[str, Ranker] = {
        "popularity": lambda day, k: {"popularity": popular(day, k, window)}
    }
    settings = {
        "popularity": (
            "positives of "
            + (
                "all days before"
                if window is None
                else "the day before"
                if window == 1
                else f"the {window} days before"
            )
        )
    }
    if not implicit_is_here():
        console.log(
            "T8: ALS and BPR are left out, for `implicit` is not installed: `pip install implicit`"
        )
        return rankers, settings

    def fit(setting: Factorisation, day: RetrievalDay) -> Fitted:
        return setting.fit(day, day.popularity(window) + 1e-3 * day.popularity(None))

    def rank(
        kind: str, setting: Factorisation, weight: float, day: RetrievalDay, k: int
    ) -> dict[str, np.ndarray]:
        fitted = fit(setting, day)
        return {
            kind: fitted.rank(k),
            kind + POPULAR: fitted.rank(k, weight * day.popularity(prior.days)),
        }

    last = data.earlier[-1:]
    for kind, tried in SETTINGS.items():
        best = best_of(
            tried,
            lambda setting: sum(mean_recall(fit(setting, day).rank(k), day, k) for day in last),
            last,
        )
        of_best = [fit(best, day) for day in last]
        weight = best_of(
            WEIGHTS,
            lambda w, of_best=of_best: sum(  # type: ignore[misc]
                mean_recall(made.rank(k, w * made.day.popularity(prior.days)), made.day, k)
                for made in of_best
            ),
            last,
        )
        rankers[kind] = partial(rank, kind, best, weight)
        settings[kind] = f"{best} (the best of {len(tried)})"
        settings[kind + POPULAR] = (
            f"the same, scores in standard deviations + {weight:g} log(1 + positives)"
        )
        done()
    return rankers, settings


def judge(
    day: RetrievalDay, rows: Mapping[str, np.ndarray], ks: tuple[int, ...]
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """Recall and NDCG of each method's rows, by group of wanted items and metric, [Q]."""
    made: dict[str, dict[str, dict[str, np.ndarray]]] = {method: {} for method in rows}
    for group in GROUPS:
        relevant, counts = day.relevant(group)
        for method, found in rows.items():
            hits = hits_of(found, relevant)
            made[method][group] = {
                f"{name}_{k}": metric(hits, counts, k)
                for name, metric in (("recall", recall_at), ("ndcg", ndcg_at))
                for k in ks
            }
    return made
