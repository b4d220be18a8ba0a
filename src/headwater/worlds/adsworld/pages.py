"""A day's pages on a content site: what is shown, in which order, and the one click of each page.

A page is a request: of the items on it exactly one is clicked, item j with the probability

    p_j = exp(u_j) / sum of exp(u_k) over the page's items k

of a multinomial choice (McFadden 1974), where the utility u_j adds taste, the item's own appeal,
its place on the page and its age. So the rows of a page depend on one another: one click takes all
others' away, and whatever all items of a page share (the user's eagerness, the hour) changes
nothing. A click is long with a probability of its own, of taste for what one stays with.

Shape suffixes: N rows, P pages, C items considered for a page, J places on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headwater.worlds.adsworld.assumptions import Assumptions
from headwater.worlds.adsworld.population import Population
from headwater.worlds.adsworld.publishing import US_PER_HOUR, churn_of
from headwater.worlds.adsworld.traffic import (
    US_PER_DAY,
    Inhabitants,
    buy_logit,
    sigmoid,
    times_of_day,
)


@dataclass(frozen=True)
class PageChunk:
    """A part of a day's pages: how many, and the first ids of requests and impressions."""

    midnight_us: int
    pages: int
    first_request: int
    first_impression: int


@dataclass(frozen=True)
class PageTraffic:
    """Rows of the log and of the truth, as columns."""

    impressions: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray]


def simulate_pages(
    chunk: PageChunk, there: Inhabitants, a: Assumptions, generator: np.random.Generator
) -> PageTraffic:
    """One chunk of a day's pages, by time and then by place."""
    user_P = there.users.draw(chunk.pages, generator)
    time_us_P = times_of_day(chunk.pages, chunk.midnight_us, generator)
    item_PJ, there_PJ = _laid_out(user_P, time_us_P, chunk, there, a, generator)
    created_us_N = there.items.table["created"].astype(np.int64)
    age_h_PJ = (time_us_P[:, None] - created_us_N[item_PJ]) / US_PER_HOUR
    utility_PJ = np.where(there_PJ, _utility(user_P, item_PJ, age_h_PJ, there, a), -np.inf)
    p_PJ = np.exp(utility_PJ - utility_PJ.max(axis=1, keepdims=True))
    p_PJ /= p_PJ.sum(axis=1, keepdims=True)
    # the largest of utilities with Gumbel noise is item j with the probability p_j
    chosen_P = (utility_PJ + generator.gumbel(size=utility_PJ.shape)).argmax(axis=1)
    click_PJ = np.arange(item_PJ.shape[1]) == chosen_P[:, None]

    page_N, place_N = np.nonzero(there_PJ)
    rows = page_N, place_N
    long_logit_N = _long_logit(user_P[page_N], item_PJ[rows], there, a)
    # dwell times are log-logistic, so that the chance of a long click is a logistic one
    noise_N = generator.logistic(size=len(page_N))
    dwell_s_N = (churn_of(a).long_click_s * np.exp(long_logit_N + noise_N)).astype(np.float32)
    click_N = click_PJ[rows]
    ids_N = np.arange(chunk.first_impression, chunk.first_impression + len(page_N))
    return PageTraffic(
        impressions={
            "impression_id": ids_N,
            "request_id": chunk.first_request + page_N,
            "time": time_us_P[page_N],
            "user_id": there.users.table["user_id"][user_P[page_N]],
            "item_id": there.items.table["item_id"][item_PJ[rows]],
            "position": place_N + 1,
            "age_hours": age_h_PJ[rows].astype(np.float32),
            "is_click": click_N.astype(np.int8),
            "is_long_click": (click_N & (noise_N >= -long_logit_N)).astype(np.int8),
            "dwell_s": np.where(click_N, dwell_s_N, np.float32(np.nan)),
        },
        truth={
            "impression_id": ids_N,
            "p_click": p_PJ[rows].astype(np.float32),
            "utility": utility_PJ[rows].astype(np.float32),
            "p_long_click": sigmoid(long_logit_N).astype(np.float32),
        },
    )


def _utility(
    user_P: np.ndarray,
    item_PJ: np.ndarray,
    age_h_PJ: np.ndarray,
    there: Inhabitants,
    a: Assumptions,
) -> np.ndarray:
    """How much each place of each page draws a click [P, J]."""
    churn = churn_of(a)
    taste_PJ = np.einsum("pl,pjl->pj", there.today.click_NL[user_P], there.items.click_NL[item_PJ])
    utility_PJ: np.ndarray = (
        a.click_affinity * taste_PJ
        + there.items.click_bias_N[item_PJ]
        - churn.position_power * np.log(np.arange(1, item_PJ.shape[1] + 1))
        + churn.age_effect * np.log1p(age_h_PJ.clip(min=0))
    )
    return utility_PJ


def _long_logit(
    user_N: np.ndarray, item_N: np.ndarray, there: Inhabitants, a: Assumptions
) -> np.ndarray:
    """Log-odds [N] that a click is long, as in the world of ads."""
    wanting_N = buy_logit(user_N, item_N, there.today, there.items, a)
    return a.long_click_base + 0.5 * (wanting_N - a.buy_base)


# ---- what is shown -------------------------------------------------------------------------------


def _laid_out(
    user_P: np.ndarray,
    time_us_P: np.ndarray,
    chunk: PageChunk,
    there: Inhabitants,
    a: Assumptions,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Places in the items [P, J] from the top of each page down, and whether there is one."""
    churn = churn_of(a)
    size = churn.page_size
    taste_PL = there.users.click_NL[user_P]
    fresh = _Shelf.of_today(there.items, chunk.midnight_us)
    older = _Shelf.of_before(there.items, chunk.midnight_us, churn.fading)
    drawn = [
        _best(
            taste_PL, shelf.draw(time_us_P, churn.considered * size, generator), there, a, generator
        )
        for shelf in (fresh, older)
    ]
    (fresh_PJ, fresh_score_PJ), (older_PJ, older_score_PJ) = drawn
    have_fresh_P, have_older_P = (np.isfinite(score_PJ).sum(axis=1) for _, score_PJ in drawn)
    wanted_P = generator.binomial(size, churn.fresh_share, len(user_P))
    from_fresh_P = np.minimum(np.maximum(wanted_P, size - have_older_P), have_fresh_P)
    from_older_P = np.minimum(size - from_fresh_P, have_older_P)
    place_J = np.arange(size)
    item_P2J = np.concatenate([fresh_PJ, older_PJ], axis=1)
    score_P2J = np.concatenate(
        [
            np.where(place_J < from_fresh_P[:, None], fresh_score_PJ, -np.inf),
            np.where(place_J < from_older_P[:, None], older_score_PJ, -np.inf),
        ],
        axis=1,
    )
    order_PJ = np.argsort(-score_P2J, axis=1, kind="stable")[:, :size]
    there_PJ = np.isfinite(np.take_along_axis(score_P2J, order_PJ, axis=1))
    return np.take_along_axis(item_P2J, order_PJ, axis=1), there_PJ


def _best(
    taste_PL: np.ndarray,
    item_PC: np.ndarray,
    there: Inhabitants,
    a: Assumptions,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The page's length of distinct items that the site believes in most, and its scores, [P, J].

    A score is -inf where there is none: `item_PC` is -1 there.
    """
    size = churn_of(a).page_size
    score_PC = a.policy_skill * np.einsum(
        "pl,pcl->pc", taste_PL, there.items.click_NL[item_PC]
    ) + generator.gumbel(0, a.policy_noise, item_PC.shape)
    score_PC[_repeated(item_PC) | (item_PC < 0)] = -np.inf
    best_PJ = np.argsort(-score_PC, axis=1, kind="stable")[:, :size]
    return (np.take_along_axis(item_PC, best_PJ, 1), np.take_along_axis(score_PC, best_PJ, 1))


def _repeated(item_PC: np.ndarray) -> np.ndarray:
    """Whether an item stands in the same row further left [P, C]."""
    order_PC = np.argsort(item_PC, axis=1, kind="stable")
    sorted_PC = np.take_along_axis(item_PC, order_PC, axis=1)
    again_PC = np.zeros(item_PC.shape, bool)
    again_PC[:, 1:] = sorted_PC[:, 1:] == sorted_PC[:, :-1]
    repeated_PC = np.empty_like(again_PC)
    np.put_along_axis(repeated_PC, order_PC, again_PC, axis=1)
    return repeated_PC


@dataclass(frozen=True)
class _Shelf:
    """Items from which pages are filled, in the order in which they appeared: places in the items,
    moments, and the sums of their weights from the first on.
    """

    item_N: np.ndarray
    created_us_N: np.ndarray
    cumulative_N: np.ndarray

    @classmethod
    def of_today(cls, items: Population, midnight_us: int) -> _Shelf:
        created_us_N = items.table["created"].astype(np.int64)
        item_N = np.flatnonzero(items.alive_N & (created_us_N >= midnight_us))
        return cls(item_N, created_us_N[item_N], np.cumsum(items.weight_N[item_N]))

    @classmethod
    def of_before(cls, items: Population, midnight_us: int, fading: float) -> _Shelf:
        created_us_N = items.table["created"].astype(np.int64)
        item_N = np.flatnonzero(items.alive_N & (created_us_N < midnight_us))
        days_N = (midnight_us - created_us_N[item_N]) // US_PER_DAY
        weight_N = items.weight_N[item_N] * fading**days_N
        return cls(item_N, created_us_N[item_N], np.cumsum(weight_N))

    def draw(self, time_us_P: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
        """`n` of those that were there at each moment, by weight, with repetition [P, C]; -1 where
        there was none.
        """
        random_PC = generator.random((len(time_us_P), n))
        known_P = np.searchsorted(self.created_us_N, time_us_P, side="right")
        reached = np.concatenate([[0.0], self.cumulative_N])
        drawn_PC = np.searchsorted(
            self.cumulative_N, random_PC * reached[known_P][:, None], side="right"
        )
        # rounding may lead one beyond the last that was there
        drawn_PC = np.minimum(drawn_PC, known_P[:, None] - 1)
        return np.where(known_P[:, None] > 0, self.item_N[drawn_PC], -1)
