"""Who lives in adsworld: users and ads with latent tastes that drift, arrive and leave.

Shape suffixes: N entities, L latent dimensions, V width of the pretrained vector.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from headwater.worlds.adsworld.assumptions import Assumptions

AGES = ("18-24", "25-34", "35-44", "45-54", "55+")
DEVICES = ("phone", "tablet", "desktop")
FORMATS = ("image", "video", "carousel")


def unit(vectors_NL: np.ndarray) -> np.ndarray:
    return np.asarray(vectors_NL / np.linalg.norm(vectors_NL, axis=-1, keepdims=True))


@dataclass
class Population:
    """One kind of entity: truth (tastes, appeal), what is written down of it (`table`), and who is
    there.
    """

    click_NL: np.ndarray
    buy_NL: np.ndarray
    click_bias_N: np.ndarray
    buy_bias_N: np.ndarray
    weight_N: np.ndarray
    alive_N: np.ndarray
    table: dict[str, np.ndarray]

    def drift(self, amount: float, generator: np.random.Generator) -> None:
        """A day passes: every direction turns a little."""
        for name in ("click_NL", "buy_NL"):
            tastes = getattr(self, name)
            noise = unit(generator.standard_normal(tastes.shape))
            setattr(
                self,
                name,
                unit(np.sqrt(1 - amount**2) * tastes + amount * noise).astype(np.float32),
            )

    def in_mood(self, amount: float, generator: np.random.Generator) -> Population:
        """The same ones on a single day: every direction turned aside by a passing mood, `self`
        left as it is.
        """
        looking_NL, own_NL = (
            amount
            / np.sqrt(self.click_NL.shape[1])
            * generator.standard_normal((2, *self.click_NL.shape))
        )
        # Both moods are as alike as both tastes, so that looking and buying stay as related as they
        # are on calm days.
        alike_N1 = np.einsum("nl,nl->n", self.click_NL, self.buy_NL)[:, None].clip(-1, 1)
        buying_NL = alike_N1 * looking_NL + np.sqrt(1 - alike_N1**2) * own_NL
        return replace(
            self,
            click_NL=unit(self.click_NL + looking_NL).astype(np.float32),
            buy_NL=unit(self.buy_NL + buying_NL).astype(np.float32),
        )

    def leave(self, share: float, generator: np.random.Generator) -> int:
        """Some go for good; returns how many."""
        gone = (generator.random(len(self.alive_N)) < share) & self.alive_N
        self.alive_N &= ~gone
        return int(gone.sum())

    def join(self, others: Population) -> None:
        for name in ("click_NL", "buy_NL", "click_bias_N", "buy_bias_N", "weight_N", "alive_N"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(others, name)]))
        self.table = {
            name: np.concatenate([values, others.table[name]])
            for name, values in self.table.items()
        }

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """n of those alive, by weight, with replacement."""
        cumulative = np.cumsum(np.where(self.alive_N, self.weight_N, 0.0))
        return np.searchsorted(cumulative, generator.random(n) * cumulative[-1], side="right")

    def frame(self) -> pl.DataFrame:
        columns = {
            name: values.tolist() if values.ndim == 2 else values
            for name, values in self.table.items()
        }
        frame = pl.DataFrame(columns)
        return frame.with_columns(
            pl.col(name).cast(pl.List(pl.Float32)) for name in ("picture",) if name in frame.columns
        )


@dataclass(frozen=True)
class Nature:
    """What stays fixed: the topics, and the lens through which pretrained vectors see taste."""

    topics_TL: np.ndarray
    lens_LV: np.ndarray

    @classmethod
    def of(cls, a: Assumptions, generator: np.random.Generator) -> Nature:
        lens = generator.standard_normal((a.dimensions, a.vector_width)) / np.sqrt(a.dimensions)
        return cls(unit(generator.standard_normal((a.topics, a.dimensions))), lens)


def _around(directions_NL: np.ndarray, own: float, generator: np.random.Generator) -> np.ndarray:
    """Unit vectors near given directions; `own` is the share that no direction explains."""
    noise = unit(generator.standard_normal(directions_NL.shape))
    return unit(np.sqrt(1 - own**2) * unit(directions_NL) + own * noise).astype(np.float32)


def new_users(
    n: int,
    first_id: int,
    day: dt.date,
    a: Assumptions,
    nature: Nature,
    generator: np.random.Generator,
) -> Population:
    loved_N3 = generator.integers(0, a.topics, (n, a.topics_a_user))
    other_N3 = generator.integers(0, a.topics, loved_N3.shape)
    bought_N3 = np.where(generator.random(loved_N3.shape) < a.look_and_buy, loved_N3, other_N3)
    click, buy = (
        _around(nature.topics_TL[topics].sum(axis=1), a.own_taste, generator)
        for topics in (loved_N3, bought_N3)
    )
    told = np.where(
        generator.random(loved_N3.shape) < a.wrong_interest,
        generator.integers(0, a.topics, loved_N3.shape),
        loved_N3,
    )
    age = (loved_N3[:, 0] + generator.integers(0, 3, n)) % len(
        AGES
    )  # a weak sign of taste, as ages are
    return Population(
        click,
        buy,
        generator.normal(0, a.user_eagerness, n),
        generator.normal(0, a.user_eagerness, n),
        generator.gamma(a.activity_shape, 1, n) + 0.02,
        np.ones(n, bool),
        {
            "user_id": np.arange(first_id, first_id + n, dtype=np.int64),
            "age": np.array(AGES)[age],
            "country": generator.zipf(2.0, n).clip(max=30).astype(np.int64),
            "device": np.array(DEVICES)[generator.choice(3, n, p=(0.7, 0.1, 0.2))],
            "interests": np.array(
                [",".join(f"topic-{topic}" for topic in sorted(set(row))) for row in told],
                dtype=object,
            ),
            "joined": np.full(n, np.datetime64(day, "us")),
        },
    )


def new_items(
    n: int,
    first_id: int,
    day: dt.date,
    a: Assumptions,
    nature: Nature,
    generator: np.random.Generator,
) -> Population:
    advertiser = generator.zipf(1.5, n).clip(max=max(4, a.items // 6))
    topic = (
        advertiser * 7 + generator.integers(0, 2, n)
    ) % a.topics  # an advertiser sells one or two kinds of things
    about = _around(
        nature.topics_TL[topic], a.own_taste, generator
    )  # looked at or bought, an ad is about the same thing
    price = generator.normal(0, 1, n)
    appeal = generator.normal(0, a.item_appeal, n)
    said = np.where(
        generator.random(n) < a.wrong_category, generator.integers(0, a.topics, n), topic
    )
    picture = about @ nature.lens_LV + generator.normal(
        0, a.vector_noise / np.sqrt(a.dimensions), (n, a.vector_width)
    )
    return Population(
        about,
        about,
        appeal,
        0.5 * appeal + generator.normal(0, a.item_appeal, n) + a.price_effect * price,
        1 / generator.integers(1, max(2, a.items), n) ** a.budget_exponent,
        np.ones(n, bool),
        {
            "ad_id": np.array(
                [f"ad-{number}" for number in range(first_id, first_id + n)], dtype=object
            ),
            "advertiser": advertiser.astype(np.int64),
            "category": np.array([f"topic-{topic}" for topic in said], dtype=object),
            "price": np.exp(3 + 0.8 * price).astype(np.float32),
            "format": np.array(FORMATS)[generator.integers(0, 3, n)],
            "picture": picture.astype(np.float32),
            "created": np.full(n, np.datetime64(day, "us")),
        },
    )
