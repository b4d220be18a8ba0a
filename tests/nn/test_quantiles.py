"""Ranks among past days: against all rows kept (the slow twin), over a year of drift, and byte by
byte.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from headwater.nn import RunningQuantiles

HALF_LIFE_DAYS = 30
MOST_ERROR = 0.01
YEAR = 365


def ranks_of(scale: RunningQuantiles, asked: np.ndarray) -> np.ndarray:
    """The ranks, 0 to 1, of some numbers of the one feature."""
    scaled = scale(torch.from_numpy(asked.astype(np.float32))[:, None])[:, 0].numpy()
    return scaled / 12**0.5 + 0.5


def exact_ranks(days: list[np.ndarray], asked: np.ndarray) -> np.ndarray:
    """The same with every row kept: a row weighs half as much as one of 30 days later, and equal
    numbers share the middle of their ranks.
    """
    values = np.concatenate(days).astype(np.float32)
    ages = np.repeat(np.arange(len(days))[::-1], [len(day) for day in days])
    weights = 0.5 ** (ages / HALF_LIFE_DAYS)
    order = np.argsort(values, kind="stable")
    reached = np.concatenate([[0], np.cumsum(weights[order])])
    asked = asked.astype(np.float32)
    below, upto = (np.searchsorted(values[order], asked, side) for side in ("left", "right"))
    return (reached[below] + reached[upto]) / (2 * reached[-1])


def learnt(days: list[np.ndarray], pieces: int = 1, **settings: float) -> RunningQuantiles:
    """The scale of one feature after those days, each observed in so many pieces."""
    scale = RunningQuantiles(1, **settings)
    for rows in days:
        for piece in np.array_split(rows.astype(np.float32), pieces):
            scale.observe(torch.from_numpy(piece)[:, None])
        scale.learn()
    return scale


def state_of(scale: RunningQuantiles) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in scale.state_dict().items()}


def drifting(seed: int, shift: float, rows: int = 500) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.normal(shift * day, 1, rows) for day in range(YEAR)]


def counts(seed: int) -> list[np.ndarray]:
    """Three zeros in four, else a count whose mean doubles within the year."""
    generator = np.random.default_rng(seed)
    return [
        np.where(generator.random(500) < 0.75, 0, generator.poisson(5 + day / 73, 500))
        for day in range(YEAR)
    ]


def growing(seed: int) -> list[np.ndarray]:
    """A heavy tail over many magnitudes, of ever more rows a day."""
    generator = np.random.default_rng(seed)
    return [np.exp(generator.normal(day / 50, 4, 100 + 3 * day)) for day in range(YEAR)]


def uneven(seed: int) -> list[np.ndarray]:
    """Days of two thousand rows, of five, and of one: what is rare is not forgotten as noise."""
    generator = np.random.default_rng(seed)
    sizes = [(2000, 5, 1)[day % 3] for day in range(YEAR)]
    return [generator.normal(day / 100, 1, size) for day, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "days",
    [
        pytest.param(lambda seed: drifting(seed, 0.01), id="slow drift"),
        pytest.param(lambda seed: drifting(seed, -0.03), id="down"),
        pytest.param(lambda seed: drifting(seed, 5.0), id="no two days alike"),
        pytest.param(counts, id="counts"),
        pytest.param(growing, id="growing tail"),
        pytest.param(uneven, id="uneven days"),
    ],
)
def test_a_year_of_drift_is_followed(days: Callable[[int], list[np.ndarray]]) -> None:
    rows = days(0)
    scale = RunningQuantiles(1)
    asked = np.unique(np.concatenate(rows[::7]))
    worst = 0.0
    for number, day in enumerate(rows):
        scale.observe(torch.from_numpy(day.astype(np.float32))[:, None])
        scale.learn()
        if number % 60 == 4 or number == YEAR - 1:
            error = np.abs(ranks_of(scale, asked) - exact_ranks(rows[: number + 1], asked)).max()
            worst = max(worst, float(error))
    assert worst <= MOST_ERROR / 2


def test_today_stays_spread_over_the_whole_range() -> None:
    """What the scale is for: of a number that rises every day, its newest rows have all ranks."""
    rows = drifting(1, 0.01)
    ranks = ranks_of(learnt(rows), rows[-1])
    assert 0.5 < ranks.mean() < 0.7  # in the middle of a month, not above all that was ever seen
    assert ranks.min() < 0.05
    assert ranks.std() == pytest.approx(12**-0.5, abs=0.05)


def test_a_day_of_few_rows_is_exact() -> None:
    scale = learnt([np.array([3.0, 1.0, 1.0, 7.0])])
    asked = np.array([-1.0, 1.0, 2.0, 3.0, 7.0, 9.0])
    np.testing.assert_allclose(ranks_of(scale, asked), [0, 0.25, 0.5, 0.625, 0.875, 1], atol=1e-6)


def test_nothing_is_known_before_a_day_is_learnt() -> None:
    scale = RunningQuantiles(1)
    scale.observe(torch.tensor([[1.0], [2.0]]))
    assert scale(torch.tensor([[5.0], [float("nan")]])).tolist() == [[0.0], [0.0]]
    scale.learn()
    assert scale(torch.tensor([[5.0]])).item() == pytest.approx(3**0.5)


def test_a_row_weighs_half_as_much_after_the_half_life() -> None:
    scale = learnt([np.zeros(10), *[np.full(1, 9.0)] * 3], half_life_days=3)
    weights = np.array([10 / 2, 2 ** (-2 / 3) + 2 ** (-1 / 3) + 1])
    rank = weights[0] / weights.sum()
    np.testing.assert_allclose(ranks_of(scale, np.array([4.0])), [rank], rtol=1e-6)


def test_ties_have_the_rank_of_their_middle() -> None:
    """Also where the points are few, and other values crowd beside them."""
    generator = np.random.default_rng(3)
    rows = np.concatenate([np.zeros(6000), generator.normal(0, 1e-3, 2000), np.ones(2000)])
    scale = learnt([rows] * 40, points=64)
    asked = np.array([0.0, 1.0])
    np.testing.assert_allclose(ranks_of(scale, asked), exact_ranks([rows], asked), atol=1 / 64)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e38, 1e-40])
def test_a_constant_is_the_middle(value: float) -> None:
    scale = learnt([np.full(50, value)] * 20)
    assert ranks_of(scale, np.array([value])).tolist() == [0.5]
    assert np.isfinite(ranks_of(scale, np.array([-np.inf, np.inf]))).all()


def test_missing_infinite_and_huge_numbers() -> None:
    rows = np.array([np.nan, -np.inf, -3e38, 0.0, -0.0, 3e38, np.inf, np.nan])
    scale = learnt([rows])
    asked = np.array([-np.inf, 0.0, np.inf, 1.0])
    np.testing.assert_allclose(ranks_of(scale, asked), [1 / 12, 0.5, 11 / 12, 4 / 6], atol=1e-6)
    nothing = learnt([np.full(5, np.nan)])
    assert scale(torch.tensor([[float("nan")]])).item() == 0
    assert state_of(nothing) == state_of(RunningQuantiles(1))


def test_neither_order_nor_pieces_change_a_byte() -> None:
    generator = np.random.default_rng(5)
    days = [np.round(generator.normal(0, 1, 3000), 2) for _ in range(10)]
    days[0][:2] = 0.0, -0.0
    expected = state_of(learnt(days))
    for pieces in (1, 7):
        shuffled = [generator.permutation(rows) for rows in days]
        assert state_of(learnt(shuffled, pieces)) == expected
    assert state_of(learnt(days[::-1])) != expected  # of days the order counts


def test_going_on_from_a_checkpoint_gives_the_same_bytes() -> None:
    days = drifting(6, 0.01)[:60]
    through = learnt(days)
    before = learnt(days[:40])
    resumed = RunningQuantiles(1)
    resumed.load_state_dict({name: value.clone() for name, value in before.state_dict().items()})
    for rows in days[40:]:
        resumed.observe(torch.from_numpy(rows.astype(np.float32))[:, None])
        resumed.learn()
    assert state_of(resumed) == state_of(through)


def test_the_memory_is_the_same_on_any_day() -> None:
    sizes = {
        tuple((name, value.shape, value.dtype) for name, value in learnt(days).state_dict().items())
        for days in ([], counts(7)[:2], drifting(7, 5.0)[:50])
    }
    assert len(sizes) == 1
