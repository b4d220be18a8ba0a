"""What a feature alone tells of a label: by hand, against scikit-learn, and planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from headwater.evaluation.alone import Alone, CellsAlone, CodesAlone, NumbersAlone, Ranked, Rates

STRETCHES, ROWS = 12, 400


def labels_of(seed: int, rate: float = 0.2) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.random((STRETCHES, ROWS)) < rate).astype(np.float32)


def auc(alone: Alone, labels_SN: np.ndarray, values_SN: np.ndarray) -> float:
    """Of stretches, of which the first two are not judged."""
    for n, (labels, values) in enumerate(zip(labels_SN, values_SN, strict=True)):
        alone.add(labels, values, judged=n >= 2)
    assert alone.auc(surely=True) in (0.5, alone.auc())
    return alone.auc()


def numbers(labels: np.ndarray, values: np.ndarray) -> float:
    return auc(NumbersAlone(1), labels, values[:, :, None])


def test_within_one_stretch_it_is_the_roc_auc() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    scores = np.stack([labels + generator.normal(0, 2, 300), generator.integers(0, 3, 300)], axis=1)
    ranked = Ranked(2)
    ranked.add(labels, scores)
    expected = [roc_auc_score(labels, column) for column in scores.T]
    np.testing.assert_allclose(ranked.aucs(), expected)
    assert ranked.most() == pytest.approx(max(*expected, *(1 - auc for auc in expected)))
    assert ranked.most(folded=False) == pytest.approx(max(*expected, 0.5))


def test_stretches_are_pooled_by_their_pairs() -> None:
    ranked = Ranked(1)
    ranked.add(np.array([1, 0]), np.array([[2.0], [1.0]]))  # 1 of 1
    ranked.add(np.array([1, 0, 0, 0]), np.array([[9.0], [9.0], [10.0], [11.0]]))  # 1/2 of 3
    ranked.add(np.array([1, 1]), np.array([[0.0], [1.0]]))  # no pair
    assert ranked.aucs() == pytest.approx([(1 + 0.5) / 4])
    assert Ranked(1).aucs() == [0.5]


def test_rates_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(1)
    rates, seen = Rates(), dict[int, list[float]]()
    fresh, everything = [], []
    for _ in range(5):
        codes, labels = generator.integers(0, 30, 40), generator.integers(0, 2, 40)
        if everything:
            mean = np.mean(everything)
            for code, found in zip(codes, rates.of(codes), strict=True):
                of = seen.get(int(code), fresh)
                assert found == pytest.approx((sum(of) + 2 * mean) / (len(of) + 2))
        rates.learn(codes, labels)
        fresh += [float(y) for code, y in zip(codes, labels, strict=True) if int(code) not in seen]
        for code, y in zip(codes, labels, strict=True):
            seen.setdefault(int(code), []).append(float(y))
        everything += labels.tolist()


@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_what_was_measured_afterwards_is_found_in_every_kind(rate) -> None:
    labels = labels_of(0, rate)
    noise = np.random.default_rng(2).random(labels.shape)
    dwell = np.where(labels == 1, 20 + 40 * noise, 5 * noise)
    assert numbers(labels, dwell) > 0.999
    assert numbers(labels, -dwell) > 0.999
    assert numbers(labels, np.where(labels == 1, noise, np.nan)) > 0.999  # there unless not clicked
    assert numbers(labels, np.where(labels == 1, np.nan, noise)) > 0.999
    between = np.where(labels == 1, 0.4 + 0.2 * noise, np.where(noise > 0.5, noise + 1, -noise))
    assert numbers(labels, between) > 0.97  # neither way up
    codes = np.where(labels == 1, 3 + (noise * 50).astype(np.int64), 0)
    assert auc(CodesAlone(), labels, codes) > 0.999
    each = np.arange(labels.size).reshape(labels.shape)
    assert auc(CodesAlone(), labels, np.where(labels == 1, 5 + each, 0)) > 0.999  # an id a click
    cells = np.zeros((*labels.shape, 3), np.int64)
    cells[:, :, 0] = 1 + (noise * 9).astype(np.int64)
    cells[:, :, 1] = np.where(labels == 1, 77, 0)
    assert auc(CellsAlone(), labels, cells) > 0.999
    filled = np.where(labels[:, :, None] == 1, each[:, :, None] + np.array([1, 2, 3]), 0)
    assert auc(CellsAlone(), labels, filled) > 0.999


def test_ids_learnt_by_heart_are_no_leak() -> None:
    """The rate of an id *in the judged rows* tells each label of an id that stands there once."""
    labels = labels_of(3)
    each = np.arange(labels.size).reshape(labels.shape)
    assert auc(CodesAlone(), labels, each) < 0.55
    assert auc(CodesAlone(), labels, each // 2) < 0.6
    assert auc(CellsAlone(), labels, np.stack([each, each + 10**9], axis=2)) < 0.6


def test_pages_with_one_click_are_no_leak() -> None:
    """Nine rows of a page tell the tenth; no model could know them before."""
    generator = np.random.default_rng(4)
    pages = STRETCHES * ROWS // 10
    labels = np.zeros((pages, 10))
    labels[np.arange(pages), generator.integers(0, 10, pages)] = 1
    page = np.repeat(np.arange(pages), 10).reshape(STRETCHES, ROWS)
    labels = labels.reshape(STRETCHES, ROWS)
    assert auc(CodesAlone(), labels, page) < 0.55
    assert numbers(labels, page.astype(float)) < 0.55
    position = np.tile(np.arange(10.0), pages).reshape(STRETCHES, ROWS)
    assert numbers(labels, position) < 0.6


@pytest.mark.parametrize("seed", range(4))
def test_honest_features_are_far_from_it(seed) -> None:
    """Even one that knows each row's true probability."""
    generator = np.random.default_rng(seed)
    shape = (STRETCHES, ROWS)
    taste, popular = generator.standard_normal(500), generator.standard_normal(200)
    user, item = generator.integers(0, 500, shape), generator.integers(0, 200, shape)
    logit = 1.5 * taste[user] + popular[item] - 1.5
    labels = (generator.random(shape) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    assert numbers(labels, logit) < 0.9
    assert auc(CodesAlone(), labels, user) < 0.85
    assert auc(CodesAlone(), labels, item) < 0.85
    assert auc(CellsAlone(), labels, np.stack([user + 1, item + 1000], axis=2)) < 0.85
    gone = np.where(generator.random(shape) < 0.3, np.nan, popular[item])
    assert numbers(labels, gone) < 0.8


def test_few_rows_over_many_stretches_are_not_taken_for_a_leak() -> None:
    """Two or three rows a stretch: chance alone reaches any ROC-AUC, a leak is still told."""
    high = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        noise, leak = NumbersAlone(1), NumbersAlone(1)
        for _ in range(60):
            labels = generator.integers(0, 2, 3)
            noise.add(labels, generator.random((3, 1)), judged=True)
            leak.add(labels, labels[:, None] + generator.random((3, 1)) / 2, judged=True)
        high += noise.auc() > 0.62
        assert noise.auc(surely=True) == 0.5
        assert leak.auc(surely=True) == 1
    assert high > 5


def test_chance_is_that_of_the_rank_sum() -> None:
    """Five standard errors of scores that tell nothing, over stretches of other sizes."""
    generator = np.random.default_rng(7)
    stretches = [(np.arange(n) < positives) for n, positives in ((30, 5), (12, 6), (50, 20))]
    found = []
    for _ in range(4000):
        ranked = Ranked(1)
        for labels in stretches:
            ranked.add(labels, generator.random((len(labels), 1)))
        found.append(ranked.aucs()[0])
    pairs = 5 * 25 + 6 * 6 + 20 * 30
    variance = (5 * 25 * 31 + 6 * 6 * 13 + 20 * 30 * 51) / 12
    assert np.std(found) == pytest.approx(np.sqrt(variance) / pairs, rel=0.05)
