"""What a content site publishes from day to day, and who reads it.

Shape suffix: N entities.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np

from headwater.worlds.adsworld.assumptions import Assumptions, Churn
from headwater.worlds.adsworld.population import Nature, Population, new_items, new_users

US_PER_HOUR = 3_600_000_000


def new_readers(
    n: int,
    first_id: int,
    day: dt.date,
    a: Assumptions,
    nature: Nature,
    generator: np.random.Generator,
) -> Population:
    """`n` users who join on `day`, as in the world of ads, but for how much each of them reads."""
    churn = churn_of(a)
    users = new_users(n, first_id, day, a, nature, generator)
    weight_N = 1 + generator.pareto(churn.activity_power, n)
    return replace(users, weight_N=weight_N.clip(max=churn.most_active))


def published(
    first_id: int, day: dt.date, a: Assumptions, nature: Nature, generator: np.random.Generator
) -> Population:
    """The items of one day, in the order in which they appear, numbered from `first_id`.

    Their tastes are drawn as those of ads are. What is written down of them is coarse: a section
    (sometimes the wrong one), an author, a format, a length; no pretrained vector.
    """
    churn = churn_of(a)
    n = max(1, round(churn.published_share * a.items))
    items = new_items(n, first_id, day, a, nature, generator)
    last_us = int(churn.published_until_h * US_PER_HOUR)
    moment_us_N = np.sort(generator.integers(0, last_us, n))
    ads = items.table
    table = {
        "item_id": np.array(
            [f"item-{number}" for number in range(first_id, first_id + n)], dtype=object
        ),
        "section": ads["category"],
        "author": ads["advertiser"],
        "format": ads["format"],
        "words": np.round(20 * ads["price"]).astype(np.int64),
        "created": np.datetime64(day, "us") + moment_us_N.astype("timedelta64[us]"),
    }
    return replace(items, table=table)


def first_catalogue(a: Assumptions, nature: Nature, generator: np.random.Generator) -> Population:
    """What was published before the first day and is still there."""
    days = days_on_site(a)
    items = published(1, a.first_day - dt.timedelta(days=days), a, nature, generator)
    for back in range(days - 1, 0, -1):
        day = a.first_day - dt.timedelta(days=back)
        items.join(published(len(items.alive_N) + 1, day, a, nature, generator))
    return items


def publish(
    items: Population,
    day: dt.date,
    a: Assumptions,
    nature: Nature,
    generator: np.random.Generator,
) -> None:
    """Put the items of `day` on the site, and take off what is too old. Items do not change."""
    items.join(published(len(items.alive_N) + 1, day, a, nature, generator))
    oldest = np.datetime64(day, "us") - np.timedelta64(days_on_site(a), "D")
    items.alive_N &= items.table["created"] >= oldest


def days_on_site(a: Assumptions) -> int:
    """Whole days for which an item stays after the day on which it was published."""
    return max(1, round(1 / churn_of(a).published_share))


def churn_of(a: Assumptions) -> Churn:
    """What a world of churn assumes of its pages."""
    assert a.churn is not None
    return a.churn
