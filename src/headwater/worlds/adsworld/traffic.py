"""A day's traffic: who is shown what, who clicks, who visits, who buys and when.

Shape suffixes: N rows, C candidates, I items, L latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headwater.worlds.adsworld.assumptions import Assumptions
from headwater.worlds.adsworld.population import Population

US_PER_HOUR = 3_600_000_000
US_PER_DAY = 24 * US_PER_HOUR
SURFACES = ("home", "related", "search")
# Share of a day's traffic by hour: a quiet night, a small noon and a high evening.
HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 7, 6, 5, 5, 6, 7, 8, 9, 10, 9, 7, 4], float)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x)."""
    return np.asarray(1 / (1 + np.exp(-x)))


def affinity(a_NL: np.ndarray, b_NL: np.ndarray) -> np.ndarray:
    """Cosine of unit vectors, row by row."""
    return np.einsum("nl,nl->n", a_NL, b_NL)


@dataclass(frozen=True)
class Inhabitants:
    """Who is there on a day.

    `today` is `users` in the mood of the day: what people do follows it, what they are shown does
    not.
    """

    users: Population
    today: Population
    items: Population


@dataclass(frozen=True)
class Chunk:
    """A part of a day's traffic: how many impressions and organic visits, and their first ids."""

    midnight_us: int
    impressions: int
    organic_visits: int
    first_impression: int
    first_visit: int


@dataclass(frozen=True)
class Traffic:
    """Rows of the three logs and of the truth, as columns.

    Purchases carry the moment they are reported.
    """

    impressions: Mapping[str, np.ndarray]
    visits: Mapping[str, np.ndarray]
    purchases: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray]


def simulate(
    chunk: Chunk, there: Inhabitants, a: Assumptions, generator: np.random.Generator
) -> Traffic:
    """One chunk of a day's traffic."""
    shown = _show(chunk, there, a, generator)
    visits = _visit(chunk, shown, there, a, generator)
    bought_N = generator.random(len(visits.user_N)) < visits.p_buy_N
    delays_us_N = generator.exponential(a.delay_days, len(visits.user_N)) * US_PER_DAY
    reported_us_N = visits.time_us_N + delays_us_N.astype(np.int64)
    order_N = np.argsort(visits.time_us_N, kind="stable")
    visit_id_N = np.empty(len(order_N), np.int64)
    visit_id_N[order_N] = np.arange(chunk.first_visit, chunk.first_visit + len(order_N))
    user_ids, ad_ids = there.users.table["user_id"], there.items.table["ad_id"]
    return Traffic(
        impressions={
            "impression_id": shown.id_N,
            "time": shown.time_us_N,
            "user_id": user_ids[shown.user_N],
            "ad_id": ad_ids[shown.item_N],
            "surface": np.array(SURFACES)[shown.surface_N],
            "position": shown.position_N,
            "is_click": shown.click_N.astype(np.int8),
            "is_long_click": shown.long_click_N.astype(np.int8),
        },
        visits={
            "visit_id": visit_id_N[order_N],
            "time": visits.time_us_N[order_N],
            "user_id": user_ids[visits.user_N[order_N]],
            "ad_id": ad_ids[visits.item_N[order_N]],
            "source": np.where(visits.impression_N[order_N] >= 0, "ad", "organic"),
        },
        purchases={
            "visit_id": visit_id_N[bought_N],
            "impression_id": visits.impression_N[bought_N],
            "time": reported_us_N[bought_N],
        },
        truth={
            "impression_id": shown.id_N,
            "p_click": shown.p_click_N.astype(np.float32),
            "p_conversion": _p_conversion(chunk, shown, visits, a).astype(np.float32),
        },
    )


# ---- impressions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shown:
    """Impressions, by time; users and items are places in their populations."""

    id_N: np.ndarray
    user_N: np.ndarray
    item_N: np.ndarray
    time_us_N: np.ndarray
    surface_N: np.ndarray
    position_N: np.ndarray
    p_click_N: np.ndarray
    click_N: np.ndarray
    long_click_N: np.ndarray


def _show(
    chunk: Chunk, there: Inhabitants, a: Assumptions, generator: np.random.Generator
) -> _Shown:
    users, today, items = there.users, there.today, there.items
    rows = chunk.impressions
    user_N = users.draw(rows, generator)
    time_us_N = times_of_day(rows, chunk.midnight_us, generator)
    item_N = choose_items(users.click_NL[user_N], items, items.click_NL, 1.0, a, generator)
    surface_N = generator.choice(len(SURFACES), rows, p=a.surface_share)
    position_N = generator.integers(1, a.positions + 1, rows)
    hour_N = (time_us_N - chunk.midnight_us) / US_PER_HOUR
    context_N = (
        np.array(a.surface_effect)[surface_N]
        + a.position_effect * (position_N - 1)
        + a.hour_effect * np.sin((hour_N - 14) / 24 * 2 * np.pi)
    )
    p_click_N = sigmoid(
        a.click_base
        + a.click_affinity * affinity(today.click_NL[user_N], items.click_NL[item_N])
        + users.click_bias_N[user_N]
        + items.click_bias_N[item_N]
        + context_N
    )
    click_N = generator.random(rows) < p_click_N
    wanting_N = buy_logit(user_N, item_N, today, items, a)
    p_long_N = sigmoid(a.long_click_base + 0.5 * (wanting_N - a.buy_base))
    return _Shown(
        id_N=np.arange(chunk.first_impression, chunk.first_impression + rows),
        user_N=user_N,
        item_N=item_N,
        time_us_N=time_us_N,
        surface_N=surface_N,
        position_N=position_N,
        p_click_N=p_click_N,
        click_N=click_N,
        long_click_N=click_N & (generator.random(rows) < p_long_N),
    )


def times_of_day(n: int, midnight_us: int, generator: np.random.Generator) -> np.ndarray:
    """Moments [N] of a day, ascending, in microseconds."""
    hours = generator.choice(24, n, p=HOURS / HOURS.sum())
    return np.sort(midnight_us + hours * US_PER_HOUR + generator.integers(0, US_PER_HOUR, n))


def choose_items(
    taste_NL: np.ndarray,
    items: Population,
    wares_IL: np.ndarray,
    boost: float,
    a: Assumptions,
    generator: np.random.Generator,
) -> np.ndarray:
    """Places [N] of items: among a few drawn by budget, the one with the best noisy score of taste.

    `boost` times the skill of the logging policy is what taste weighs against noise.
    """
    rows = len(taste_NL)
    candidates_NC = items.draw(rows * a.candidates, generator).reshape(-1, a.candidates)
    scores_NC = np.einsum("nl,ncl->nc", taste_NL, wares_IL[candidates_NC])
    noise_NC = generator.gumbel(0, a.policy_noise, scores_NC.shape)
    best_N = (boost * a.policy_skill * scores_NC + noise_NC).argmax(axis=1)
    return candidates_NC[np.arange(rows), best_N]


# ---- visits and purchases ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Visits:
    """Visits: those after a click come first, in the order of the clicks, then the organic ones.

    `impression_N` is -1 of an organic visit.
    """

    user_N: np.ndarray
    item_N: np.ndarray
    time_us_N: np.ndarray
    impression_N: np.ndarray
    p_buy_N: np.ndarray


def _visit(
    chunk: Chunk, shown: _Shown, there: Inhabitants, a: Assumptions, generator: np.random.Generator
) -> _Visits:
    today, items = there.today, there.items
    clicked = np.flatnonzero(shown.click_N)
    organic = chunk.organic_visits
    guest = there.users.draw(organic, generator)
    sought = choose_items(today.buy_NL[guest], items, items.buy_NL, 2.0, a, generator)
    user_N = np.concatenate([shown.user_N[clicked], guest])
    item_N = np.concatenate([shown.item_N[clicked], sought])
    landed_us = shown.time_us_N[clicked] + generator.integers(1, 30, len(clicked)) * 1_000_000
    came_us = times_of_day(organic, chunk.midnight_us, generator)
    return _Visits(
        user_N=user_N,
        item_N=item_N,
        time_us_N=np.concatenate([landed_us, came_us]),
        impression_N=np.concatenate([shown.id_N[clicked], np.full(organic, -1)]),
        p_buy_N=sigmoid(buy_logit(user_N, item_N, today, items, a)),
    )


def buy_logit(
    user_N: np.ndarray, item_N: np.ndarray, users: Population, items: Population, a: Assumptions
) -> np.ndarray:
    """Log-odds [N] that a visitor buys."""
    taste_N = a.buy_affinity * affinity(users.buy_NL[user_N], items.buy_NL[item_N])
    return a.buy_base + taste_N + users.buy_bias_N[user_N] + items.buy_bias_N[item_N]


def _p_conversion(chunk: Chunk, shown: _Shown, visits: _Visits, a: Assumptions) -> np.ndarray:
    """Of each impression: chance that a purchase is reported in time; NaN where none clicked."""
    clicked = np.flatnonzero(shown.click_N)
    end_us = chunk.midnight_us + (1 + a.matures_days) * US_PER_DAY
    window_days = (end_us - visits.time_us_N[: len(clicked)]) / US_PER_DAY
    p_conversion_N = np.full(len(shown.id_N), np.nan)
    in_time = 1 - np.exp(-window_days / a.delay_days)
    p_conversion_N[clicked] = visits.p_buy_N[: len(clicked)] * in_time
    return p_conversion_N
