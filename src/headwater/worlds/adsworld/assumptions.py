"""What adsworld assumes, each with its reason.

docs/benchmarks.md says which were changed after a table had been seen.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class Churn:
    """What a world of churn assumes besides: a content site. Log-odds unless a unit is named.

    The same people with the same tastes as in the world of ads read pages of several items; each
    page gets one click. A quarter of the catalogue is new every day, and most of what is shown was
    published that day. What the site shows and what is clicked within a page are in `pages.py`.
    All of it was fixed before any table of such a world was looked at.
    """

    # A page is one request: as many items as a feed shows at once.
    page_size: int = 10
    # Share of a page's places for what was published that day, as far as there is enough: before
    # the first hours of a day have filled the shelf, fewer.
    fresh_share: float = 0.65
    # Share of the catalogue (`items`, as large as when a day begins) that is published each day,
    # evenly over its first hours, and taken off again when it is so old that as many came after
    # it: news lives for days, not weeks.
    published_share: float = 0.25
    published_until_h: float = 18.0
    fading: float = 0.5  # of what is older, a day more halves how often it is considered
    # The site considers so many times what fits on a page, drawn by how much each is promoted, and
    # orders what it shows by its own noisy estimate of taste: the top place goes to a likely click.
    considered: int = 4

    # What is clicked within a page. Places are looked at in proportion to 1 / position^power: a
    # power of 1 is usual in search (Joachims et al. 2017), feeds are flatter.
    position_power: float = 0.5
    # Per e-fold of (1 + hours since it was published): a day old is clicked half as often as an
    # hour old.
    age_effect: float = -0.27

    long_click_s: float = 30.0  # seconds from which a click is a long one
    # Pareto: most people read a page now and then, a few read all day (the most active fifth more
    # than half of all pages), but nobody more than so many times what the least active do: a day
    # is short.
    activity_power: float = 1.5
    most_active: float = 100.0


@dataclass(frozen=True)
class Assumptions:
    """A world's parameters. Log-odds unless a unit is named."""

    # Size. A user meets half a dozen ads a day, an ad lives for weeks: most pairs never meet, so
    # taste must be shared.
    users: int = 2_500
    items: int = 600
    impressions_a_day: int = 15_000
    organic_visits_a_day: int = 6_000
    first_day: dt.date = dt.date(2025, 1, 6)
    days: int = 14

    # Taste. A person cares for few topics out of many; what an ad is about has few dimensions as
    # well.
    topics: int = 16
    dimensions: int = 8
    topics_a_user: int = 3
    own_taste: float = 0.5  # share of a user's or an ad's direction that no topic explains
    # People change over weeks: a daily turn of 0.07 leaves a cosine of .95 after a month; ads are
    # edited less.
    user_drift: float = 0.07
    item_drift: float = 0.03
    # A day's mood turns a person aside and is gone the next day: its length (root mean square)
    # against a taste of 1. What people click, seek and buy follows it; the logging policy, which
    # knows them from other days, cannot see it.
    mood: float = 0.0
    # Wanting to look and wanting to buy are related, not the same: each topic that a user looks at
    # is, with this probability, one that the user buys from; otherwise another is. What an ad is
    # about is the same for both.
    look_and_buy: float = 0.8

    # How strongly taste moves a click (a typical pair: +- 1.8) and a purchase; how much ads and
    # people differ overall.
    click_affinity: float = 5.0
    buy_affinity: float = 5.0
    item_appeal: float = 0.4
    user_eagerness: float = 0.4
    click_base: float = -3.3  # a feed of engaging ads: about one impression in five is clicked
    long_click_base: float = 0.0  # about half of the clicks stay
    # after a click, about one in four buys within the window (one-product shops, not malls)
    buy_base: float = -3.6
    price_effect: float = -0.3  # per standard deviation of log price

    # Context, which belongs to no entity: where, when and how far down an ad is shown.
    surface_share: tuple[float, ...] = (0.6, 0.25, 0.15)
    surface_effect: tuple[float, ...] = (0.0, 0.3, 0.7)  # home, related, search: intent grows
    position_effect: float = -0.25  # per place down
    positions: int = 5
    hour_effect: float = 0.3  # evenings click more

    # Logging policy: picks among a few candidates by a noisy estimate of taste and some
    # exploration.
    candidates: int = 20
    policy_skill: float = 2.0
    policy_noise: float = 1.0

    # Purchases are reported when they happen: about a day after the click, by an exponential delay.
    delay_days: float = 0.8
    matures_days: int = 3

    # Arrivals and departures, share a day: new people and campaigns come, others end.
    user_turnover: float = 0.01
    item_turnover: float = 0.04

    # What is written down of an entity is noisy: labels mistaken, pretrained vectors mostly noise
    # about this taste.
    wrong_category: float = 0.2
    wrong_interest: float = 0.5
    vector_width: int = 16
    vector_noise: float = 1.5  # standard deviation against a signal of 1
    activity_shape: float = 0.7  # gamma: a few heavy users, many light ones
    budget_exponent: float = 0.8  # Zipf over ads

    # A content site instead of ads: its pages, clicks and items follow `churn`, and nobody visits
    # or buys.
    churn: Churn | None = None


SIZES: dict[str, Assumptions] = {
    "tiny": Assumptions(
        users=300, items=80, impressions_a_day=1_500, organic_visits_a_day=500, days=6
    ),
    "small": Assumptions(),
    "medium": Assumptions(
        users=60_000, items=12_000, impressions_a_day=250_000, organic_visits_a_day=80_000, days=14
    ),
    "large": Assumptions(
        users=2_000_000,
        items=200_000,
        impressions_a_day=4_000_000,
        organic_visits_a_day=1_000_000,
        days=14,
    ),
}
