"""Every method on every judged day: what it retrieved, and where among that the wanted items are.
Shapes: Q queries, K retrieved, M wanted items.
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
from headwater.studies.retrieval.days import RetrievalData, RetrievalDay
from headwater.studies.retrieval.judging import Wanted
from headwater.studies.retrieval.methods import FLAT, ORDER, POPULAR, Ranker, Rankings
from headwater.studies.retrieval.ours import bias_of, rank_exact, rank_through
from headwater.studies.retrieval.ranking import best_rows, overlap, places_of
from headwater.studies.retrieval.rivals import SETTINGS


@dataclass(frozen=True)
class Compared:
    """What was `wanted` on all days, and by method at which places it was retrieved; `overlap` with
    exact search, by method; `settings` of the rivals in words.
    """

    wanted: Wanted
    overlap: Mapping[str, float]
    settings: Mapping[str, str]

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(self.wanted.places)


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
    judged: list[Wanted] = []
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
            judged.append(wanted_on(day, rows))
            shared.append(ours.overlaps(rows))
            console.log(f"T8 {day.day}", queries=f"{len(day):,}")
            bar.advance()
    sizes = [len(day) for day in data.judged]
    return Compared(
        wanted=_concatenated(judged, sizes, (*ORDER, index, index + POPULAR)),
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


def wanted_on(day: RetrievalDay, rows: Rankings) -> Wanted:
    """What was wanted on a day, and where each method's rows have it."""
    query_M, column_M = day.places
    return Wanted(
        query_M=query_M,
        users_M=day.wanted.users_M,
        items_M=day.wanted.items_M,
        days_M=day.wanted.days_M,
        cold_M=day.is_cold,
        places={method: places_of(found, query_M, column_M) for method, found in rows.items()},
    )


def _concatenated(days: Sequence[Wanted], sizes: Sequence[int], order: Sequence[str]) -> Wanted:
    """What was wanted on all days, queries numbered on, methods in the order given."""
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Wanted(
        query_M=np.concatenate([day.query_M + n for day, n in zip(days, firsts, strict=True)]),
        users_M=np.concatenate([day.users_M for day in days]),
        items_M=np.concatenate([day.items_M for day in days]),
        days_M=np.concatenate([day.days_M for day in days]),
        cold_M=np.concatenate([day.cold_M for day in days]),
        places={
            method: np.concatenate([day.places[method] for day in days])
            for method in sorted(days[0].places, key=order.index)
        },
    )


def _averaged(days: Sequence[Mapping[str, float]], sizes: Sequence[int]) -> dict[str, float]:
    """Shares of several days, each day by its queries."""
    return {
        name: float(np.average([found[name] for found in days], weights=sizes)) for name in days[0]
    }
