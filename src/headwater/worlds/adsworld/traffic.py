"""A day's traffic: who is shown what, who clicks, who visits, who buys and when.

Shape suffixes: N rows, C candidates, L latent dimensions.
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
    return np.asarray(1 / (1 + np.exp(-x)))


def affinity(a_NL: np.ndarray, b_NL: np.ndarray) -> np.ndarray:
    """Cosine of unit vectors, row by row."""
    return np.einsum("nl,nl->n", a_NL, b_NL)


@dataclass(frozen=True)
class Traffic:
    """Rows of the three logs and of the truth, as columns; purchases carry the moment they are
    reported.
    """

    impressions: Mapping[str, np.ndarray]
    visits: Mapping[str, np.ndarray]
    purchases: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray]


def times_of_day(n: int, midnight_us: int, generator: np.random.Generator) -> np.ndarray:
    hours = generator.choice(24, n, p=HOURS / HOURS.sum())
    return np.sort(midnight_us + hours * US_PER_HOUR + generator.integers(0, US_PER_HOUR, n))


def choose_items(
    users_N: np.ndarray,
    users: Population,
    items: Population,
    skill: float,
    noise: float,
    buy: bool,
    a: Assumptions,
    generator: np.random.Generator,
) -> np.ndarray:
    """Among a few candidates drawn by budget, the one with the best noisy score of taste."""
    candidates_NC = items.draw(len(users_N) * a.candidates, generator).reshape(-1, a.candidates)
    taste, wares = (users.buy_NL, items.buy_NL) if buy else (users.click_NL, items.click_NL)
    scores = np.einsum("nl,ncl->nc", taste[users_N], wares[candidates_NC])
    scores = skill * scores + generator.gumbel(0, noise, scores.shape)
    return candidates_NC[np.arange(len(users_N)), scores.argmax(axis=1)]


def simulate(
    rows: int,
    organic: int,
    midnight_us: int,
    first_impression: int,
    first_visit: int,
    users: Population,
    today: Population,
    items: Population,
    a: Assumptions,
    generator: np.random.Generator,
) -> Traffic:
    """One chunk of a day. `today` is `users` in the mood of the day: what people do follows it,
    what they are shown does not.
    """
    user, when = users.draw(rows, generator), times_of_day(rows, midnight_us, generator)
    item = choose_items(user, users, items, a.policy_skill, a.policy_noise, False, a, generator)
    surface = generator.choice(len(SURFACES), rows, p=a.surface_share)
    position = generator.integers(1, a.positions + 1, rows)
    hour = (when - midnight_us) / US_PER_HOUR
    context = (
        np.array(a.surface_effect)[surface]
        + a.position_effect * (position - 1)
        + a.hour_effect * np.sin((hour - 14) / 24 * 2 * np.pi)
    )
    p_click = sigmoid(
        a.click_base
        + a.click_affinity * affinity(today.click_NL[user], items.click_NL[item])
        + users.click_bias_N[user]
        + items.click_bias_N[item]
        + context
    )
    click = generator.random(rows) < p_click
    wanting = buy_logit(user, item, today, items, a)
    long_click = click & (
        generator.random(rows) < sigmoid(a.long_click_base + 0.5 * (wanting - a.buy_base))
    )
    impression = np.arange(first_impression, first_impression + rows)

    clicked = np.flatnonzero(click)
    guest = users.draw(organic, generator)
    sought = choose_items(
        guest, today, items, 2 * a.policy_skill, a.policy_noise, True, a, generator
    )
    v_user, v_item = np.concatenate([user[clicked], guest]), np.concatenate([item[clicked], sought])
    v_when = np.concatenate(
        [
            when[clicked] + generator.integers(1, 30, len(clicked)) * 1_000_000,
            times_of_day(organic, midnight_us, generator),
        ]
    )
    v_impression = np.concatenate([impression[clicked], np.full(organic, -1)])
    p_buy = sigmoid(buy_logit(v_user, v_item, today, items, a))
    bought = generator.random(len(v_user)) < p_buy
    reported = v_when + (generator.exponential(a.delay_days, len(v_user)) * US_PER_DAY).astype(
        np.int64
    )
    order = np.argsort(v_when, kind="stable")
    visit = np.empty(len(v_user), np.int64)
    visit[order] = np.arange(first_visit, first_visit + len(v_user))

    window_days = (
        midnight_us + (1 + a.matures_days) * US_PER_DAY - v_when[: len(clicked)]
    ) / US_PER_DAY
    p_conversion = np.full(rows, np.nan)
    p_conversion[clicked] = p_buy[: len(clicked)] * (1 - np.exp(-window_days / a.delay_days))
    ids = users.table["user_id"], items.table["ad_id"]
    return Traffic(
        {
            "impression_id": impression,
            "time": when,
            "user_id": ids[0][user],
            "ad_id": ids[1][item],
            "surface": np.array(SURFACES)[surface],
            "position": position,
            "is_click": click.astype(np.int8),
            "is_long_click": long_click.astype(np.int8),
        },
        {
            "visit_id": visit[order],
            "time": v_when[order],
            "user_id": ids[0][v_user[order]],
            "ad_id": ids[1][v_item[order]],
            "source": np.where(v_impression[order] >= 0, "ad", "organic"),
        },
        {
            "visit_id": visit[bought],
            "impression_id": v_impression[bought],
            "time": reported[bought],
        },
        {
            "impression_id": impression,
            "p_click": p_click.astype(np.float32),
            "p_conversion": p_conversion.astype(np.float32),
        },
    )


def buy_logit(
    user_N: np.ndarray, item_N: np.ndarray, users: Population, items: Population, a: Assumptions
) -> np.ndarray:
    taste = a.buy_affinity * affinity(users.buy_NL[user_N], items.buy_NL[item_N])
    return a.buy_base + taste + users.buy_bias_N[user_N] + items.buy_bias_N[item_N]
