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
    """The vectors at length 1."""
    return np.asarray(vectors_NL / np.linalg.norm(vectors_NL, axis=-1, keepdims=True))


@dataclass
class Population:
    """One kind of entity: the truth of it, what is written down of it, and who is there.

    The truth are tastes and appeal; `table` is what is written down.
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
            turned = unit(np.sqrt(1 - amount**2) * tastes + amount * noise)
            setattr(self, name, turned.astype(np.float32))

    def in_mood(self, amount: float, generator: np.random.Generator) -> Population:
        """The same ones on a single day, every direction turned aside by a passing mood.

        `self` is left as it is.
        """
        scale = amount / np.sqrt(self.click_NL.shape[1])
        looking_NL, own_NL = scale * generator.standard_normal((2, *self.click_NL.shape))
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
        """Others come, after those who were here."""
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
        """What is written down, one row an entity."""
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
    """`n` users who join on `day`, numbered from `first_id`."""
    loved_N3 = generator.integers(0, a.topics, (n, a.topics_a_user))
    other_N3 = generator.integers(0, a.topics, loved_N3.shape)
    bought_N3 = np.where(generator.random(loved_N3.shape) < a.look_and_buy, loved_N3, other_N3)
    click_NL = _around(nature.topics_TL[loved_N3].sum(axis=1), a.own_taste, generator)
    buy_NL = _around(nature.topics_TL[bought_N3].sum(axis=1), a.own_taste, generator)
    wrong_N3 = generator.random(loved_N3.shape) < a.wrong_interest
    told_N3 = np.where(wrong_N3, generator.integers(0, a.topics, loved_N3.shape), loved_N3)
    # a weak sign of taste, as ages are
    age_N = (loved_N3[:, 0] + generator.integers(0, 3, n)) % len(AGES)
    return Population(
        click_NL=click_NL,
        buy_NL=buy_NL,
        click_bias_N=generator.normal(0, a.user_eagerness, n),
        buy_bias_N=generator.normal(0, a.user_eagerness, n),
        weight_N=generator.gamma(a.activity_shape, 1, n) + 0.02,
        alive_N=np.ones(n, bool),
        table={
            "user_id": np.arange(first_id, first_id + n, dtype=np.int64),
            "age": np.array(AGES)[age_N],
            "country": generator.zipf(2.0, n).clip(max=30).astype(np.int64),
            "device": np.array(DEVICES)[generator.choice(3, n, p=(0.7, 0.1, 0.2))],
            "interests": np.array(
                [",".join(f"topic-{topic}" for topic in sorted(set(row))) for row in told_N3],
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
    """`n` ads that begin on `day`, numbered from `first_id`."""
    advertiser_N = generator.zipf(1.5, n).clip(max=max(4, a.items // 6))
    # an advertiser sells one or two kinds of things
    topic_N = (advertiser_N * 7 + generator.integers(0, 2, n)) % a.topics
    # looked at or bought, an ad is about the same thing
    about_NL = _around(nature.topics_TL[topic_N], a.own_taste, generator)
    price_N = generator.normal(0, 1, n)
    appeal_N = generator.normal(0, a.item_appeal, n)
    wrong_N = generator.random(n) < a.wrong_category
    said_N = np.where(wrong_N, generator.integers(0, a.topics, n), topic_N)
    noise = a.vector_noise / np.sqrt(a.dimensions)
    picture_NV = about_NL @ nature.lens_LV + generator.normal(0, noise, (n, a.vector_width))
    own_appeal_N = generator.normal(0, a.item_appeal, n)
    return Population(
        click_NL=about_NL,
        buy_NL=about_NL,
        click_bias_N=appeal_N,
        buy_bias_N=0.5 * appeal_N + own_appeal_N + a.price_effect * price_N,
        weight_N=1 / generator.integers(1, max(2, a.items), n) ** a.budget_exponent,
        alive_N=np.ones(n, bool),
        table={
            "ad_id": np.array(
                [f"ad-{number}" for number in range(first_id, first_id + n)], dtype=object
            ),
            "advertiser": advertiser_N.astype(np.int64),
            "category": np.array([f"topic-{topic}" for topic in said_N], dtype=object),
            "price": np.exp(3 + 0.8 * price_N).astype(np.float32),
            "format": np.array(FORMATS)[generator.integers(0, 3, n)],
            "picture": picture_NV.astype(np.float32),
            "created": np.full(n, np.datetime64(day, "us")),
        },
    )
