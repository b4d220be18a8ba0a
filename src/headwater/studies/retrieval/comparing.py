"""Every method on every judged day: what it retrieved, and how much of it was wanted. Shapes: Q
queries (of all days), K retrieved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from headwater.config import FactoryConfig, PriorConfig
from headwater.console import Console
from headwater.studies.retrieval.choosing import chosen_rivals
from headwater.studies.retrieval.days import GROUPS, RetrievalData, RetrievalDay
from headwater.studies.retrieval.methods import FLAT, ORDER, POPULAR, Ranker, Rankings
from headwater.studies.retrieval.ours import bias_of, rank_exact, rank_through
from headwater.studies.retrieval.ranking import best_rows, hits_of, ndcg_at, overlap, recall_at
from headwater.studies.retrieval.rivals import SETTINGS

Metrics = Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]  # by method, group and metric, [Q]


@dataclass(frozen=True)
class Compared:
    """`metrics[method][group][metric]` of every query, [Q], NaN where it has no such item;
    `overlap` with exact search, by method; `settings` of the rivals in words.
    """

    users_Q: np.ndarray
    days_Q: np.ndarray
    metrics: Metrics
    overlap: Mapping[str, float]
    settings: Mapping[str, str]

    def of_all(self, method: str, metric: str) -> np.ndarray:
        """One metric of all wanted items, [Q]."""
        return self.metrics[method]["all"][metric]


@dataclass(frozen=True)
class _Ours:
    """The factory's own methods: exact search and one `index`, with popularity and without."""

    index: str
    prior: PriorConfig

    def rank(self, day: RetrievalDay, k: int) -> Rankings:
        """Also the control, popularity with another user's vector, and items at random."""
        bias_N = bias_of(day, self.prior)
        generator = np.random.default_rng(day.day.toordinal())
        dealt = replace(day, queries_QD=day.queries_QD[generator.permutation(len(day))])
        return {
            "exact": rank_exact(day, k, None),
            "exact" + POPULAR: rank_exact(day, k, bias_N),
            self.index: rank_through(self.index, day, k, None),
            self.index + POPULAR: rank_through(self.index, day, k, bias_N),
            "shuffled": rank_exact(dealt, k, bias_N),
            "random": _at_random(day, k, generator),
        }

    def overlaps(self, rows: Rankings) -> dict[str, float]:
        """How much of exact search the index finds, with popularity and without."""
        return {
            self.index + added: overlap(rows[self.index + added], rows["exact" + added])
            for added in ("", POPULAR)
        }


def compare(
    config: FactoryConfig, data: RetrievalData, ks: tuple[int, ...], console: Console
) -> Compared:
    """Rankings of every method, `max(ks)` long, judged. Settings of the rivals are chosen on the
    days before the judged ones.
    """
    most, prior = max(ks), config.retrieval.prior or PriorConfig()
    index = "hnsw" if config.index.kind in FLAT else config.index.kind
    ours = _Ours(index, prior)
    judged: list[Metrics] = []
    shared: list[Mapping[str, float]] = []
    with (
        threadpool_limits(1, "blas"),
        console.progress("T8", len(SETTINGS) + 1 + len(data.judged)) as bar,
        # Factorisations, one thread each, let go of the interpreter.
        ThreadPoolExecutor(2) as pool,
    ):
        rivals = chosen_rivals(data, most, prior, console, bar.advance)
        slowest_first = [*reversed(list(rivals.rankers.values())), ours.rank]
        for day in data.judged:
            rows = _ranked(pool, slowest_first, day, most)
            judged.append(judge(day, rows, ks))
            shared.append(ours.overlaps(rows))
            console.log(f"T8 {day.day}", queries=f"{len(day):,}")
            bar.advance()
    sizes = [len(day) for day in data.judged]
    return Compared(
        users_Q=np.concatenate([day.users_Q for day in data.judged]),
        days_Q=np.repeat([day.day.toordinal() for day in data.judged], sizes),
        metrics=_concatenated(judged, (*ORDER, index, index + POPULAR)),
        overlap=_averaged(shared, sizes),
        settings=rivals.settings,
    )


def _at_random(day: RetrievalDay, k: int, generator: np.random.Generator) -> np.ndarray:
    def scores(some: slice) -> np.ndarray:
        return generator.random((some.stop - some.start, len(day.items_N)), np.float32)

    return best_rows(scores, len(day), k, day.met)


def _ranked(pool: Executor, rankers: Iterable[Ranker], day: RetrievalDay, k: int) -> Rankings:
    rows: Rankings = {}
    for made in pool.map(lambda rank: rank(day, k), rankers):
        rows |= made
    return rows


def judge(day: RetrievalDay, rows: Rankings, ks: tuple[int, ...]) -> Metrics:
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


def _concatenated(days: Sequence[Metrics], order: Sequence[str]) -> Metrics:
    """The metrics of all days, methods in the order given."""
    first = days[0]
    return {
        method: {
            group: {
                metric: np.concatenate([found[method][group][metric] for found in days])
                for metric in first[method][group]
            }
            for group in GROUPS
        }
        for method in sorted(first, key=order.index)
    }


def _averaged(days: Sequence[Mapping[str, float]], sizes: Sequence[int]) -> dict[str, float]:
    """Shares of several days, each day by its queries."""
    return {
        name: float(np.average([found[name] for found in days], weights=sizes)) for name in days[0]
    }
