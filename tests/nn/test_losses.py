"""The contrastive loss and its logQ: slow twins, and what scores it teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headwater.nn import Negatives, StreamingFrequency, contrastive_loss, mixed_log_q


def unit(rows: int, generator: torch.Generator, width: int = 4) -> Tensor:
    return nn.functional.normalize(torch.randn(rows, width, generator=generator), dim=1)


def by_hand(users, items, keys, positive, log_q, temperature, more=None) -> float:
    """The loss, one positive and one candidate after the other."""
    candidates: dict[int, tuple[Tensor, float]] = {}
    for row in range(len(keys)):
        candidates.setdefault(int(keys[row]), (items[row], float(log_q[row])))
    if more is not None:
        for row in range(len(more.keys_M)):
            of = int(more.keys_M[row])
            candidates.setdefault(of, (more.items_MD[row], float(more.log_q_M[row])))
    losses = []
    for row in range(len(keys)):
        if positive[row]:
            own = math.exp(users[row] @ items[row] / temperature - log_q[row])
            others = sum(
                math.exp(users[row] @ vector / temperature - log_q_of)
                for key, (vector, log_q_of) in candidates.items()
                if key != keys[row]
            )
            losses.append(-math.log(own / (own + others)))
    return float(np.mean(losses))


def test_contrastive_loss_matches_a_slow_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = unit(8, generator), unit(8, generator)
    keys = torch.tensor([1, 2, 2, 3, 1, 4, 5, 2])
    positive = torch.tensor([1, 1, 0, 0, 1, 1, 0, 0], dtype=torch.bool)
    log_q = torch.randn(8, generator=generator)
    found = contrastive_loss(users, items, keys, positive, log_q, 0.2)
    assert found.item() == pytest.approx(by_hand(users, items, keys, positive, log_q, 0.2))


def test_mixed_negatives_match_a_slow_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    users, items, others = unit(5, generator), unit(5, generator), unit(3, generator)
    keys = torch.tensor([1, 2, 3, 2, 4])
    positive = torch.tensor([1, 0, 1, 1, 0], dtype=torch.bool)
    log_q, log_q_more = torch.randn(5, generator=generator), torch.randn(3, generator=generator)
    more = Negatives(others, torch.tensor([2, 9, 8]), log_q_more)
    found = contrastive_loss(users, items, keys, positive, log_q, torch.tensor(0.5), more)
    assert found.item() == pytest.approx(by_hand(users, items, keys, positive, log_q, 0.5, more))


def test_an_item_that_stands_many_times_in_the_batch_is_one_candidate() -> None:
    generator = torch.Generator().manual_seed(1)
    users, items = unit(4, generator), unit(4, generator)[[0, 1, 1, 1]]
    keys, first = torch.tensor([7, 8, 8, 8]), torch.tensor([True, False, False, False])
    log_q = torch.full((4,), -1.0)
    many = contrastive_loss(users, items, keys, first, log_q, 0.3)
    once = contrastive_loss(users[:2], items[:2], keys[:2], first[:2], log_q[:2], 0.3)
    assert many.item() == pytest.approx(once.item())


def test_accidental_hits_are_no_negatives() -> None:
    users, items = torch.eye(2), torch.eye(2)
    everyone = torch.ones(2, dtype=torch.bool)
    same = contrastive_loss(users, items, torch.tensor([7, 7]), everyone, torch.zeros(2), 1.0)
    different = contrastive_loss(users, items, torch.tensor([7, 8]), everyone, torch.zeros(2), 1.0)
    assert same.item() == 0
    assert different.item() == pytest.approx(math.log(1 + math.exp(-1)))


def test_without_positives_the_contrastive_loss_is_zero() -> None:
    users = torch.randn(3, 2, requires_grad=True)
    nobody = torch.zeros(3, dtype=torch.bool)
    loss = contrastive_loss(users, torch.randn(3, 2), torch.arange(3), nobody, torch.zeros(3), 0.1)
    loss.backward()
    assert loss.item() == 0


def test_a_learned_temperature_gets_a_gradient() -> None:
    temperature = torch.tensor(0.1, requires_grad=True)
    users, items = torch.randn(4, 3), torch.randn(4, 3)
    contrastive_loss(
        users, items, torch.arange(4), torch.ones(4, dtype=torch.bool), torch.zeros(4), temperature
    ).backward()
    assert temperature.grad.abs() > 0


# ---- what score the loss teaches where all users are alike ---------------------------------------


def learnt_slope(items: int, rows: int, pool: int = 0) -> float:
    """Slope of the learnt score on the log of an item's share of the positives, where every user
    wants the same: the right score is that log plus a constant, so 1.
    """
    generator = torch.Generator().manual_seed(0)
    shares = 1 / torch.arange(1, items + 1) ** 0.9
    shares /= shares.sum()
    scores = nn.Parameter(torch.zeros(items))
    optimizer = torch.optim.Adam([scores], lr=0.1)
    frequency = StreamingFrequency(items)
    kept = torch.zeros(items)
    ones, everyone = torch.ones(rows, 1), torch.ones(rows, dtype=torch.bool)
    steps = 600
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps)
        drawn = torch.multinomial(shares, rows, replacement=True, generator=generator)
        log_q = frequency.observe(drawn)
        more = None
        if pool:
            others = torch.randperm(items, generator=generator)[:pool]
            log_q = mixed_log_q(log_q, pool, items)
            log_q_more = mixed_log_q(frequency.log_q(others), pool, items)
            more = Negatives(scores[others, None], others, log_q_more)
        loss = contrastive_loss(ones, scores[drawn, None], drawn, everyone, log_q, 1.0, more)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= steps // 2:
            kept += scores.detach() / (steps // 2)
    popular = shares * rows * steps > 60  # below, an item was hardly ever learnt
    return float(np.polyfit(shares[popular].log(), kept[popular], 1)[0])


@pytest.mark.parametrize(
    ("items", "rows", "pool"), [(600, 512, 0), (80, 256, 0), (7500, 512, 0), (600, 512, 64)]
)
def test_the_score_rises_with_log_popularity_at_slope_one(items, rows, pool) -> None:
    assert 0.95 <= learnt_slope(items, rows, pool) <= 1.05


# ---- how often an item is in a batch -------------------------------------------------------------


def test_mixed_log_q_is_of_the_batch_and_the_draw() -> None:
    found = mixed_log_q(torch.tensor([math.log(0.25), 0.0, -math.inf]), drawn=10, pool=40)
    assert found.exp().tolist() == pytest.approx([1 - 0.75 * 0.75, 1.0, 0.25])


def test_streaming_frequency_by_hand() -> None:
    frequency = StreamingFrequency(4, rate=0.5)
    frequency.observe(torch.tensor([1]))
    assert frequency.log_q(torch.tensor([1, 0])).tolist() == [0, -math.inf]  # 1 / 1 step
    frequency.observe(torch.tensor([2]))
    frequency.observe(torch.tensor([1, 1]))  # a gap of 2: B = 1, and 1 / .5 of it is 2
    found = frequency.log_q(torch.tensor([1, 2])).exp().tolist()
    assert found == pytest.approx([1 / 2, 1 / 3])
    frequency.observe(torch.tensor([1, 2]))  # gaps 1 and 2: B = 1, over .75
    assert frequency.log_q(torch.tensor([1])).exp().item() == pytest.approx(0.75)
    assert frequency.gaps.tolist() == [0, 2, 1, 0]


def test_streaming_frequency_finds_how_often_items_come() -> None:
    frequency, generator = StreamingFrequency(4), np.random.default_rng(0)
    rates, found = np.array([1.0, 0.5, 0.1]), []
    for step in range(6000):
        present = np.flatnonzero(generator.random(3) < rates) + 1
        frequency.observe(torch.tensor(present))
        if step >= 1000:
            found.append(frequency.log_q(torch.tensor([1, 2, 3])).numpy())
    np.testing.assert_allclose(np.exp(np.mean(found, axis=0)), rates, rtol=0.1)


@pytest.mark.parametrize("share", [0.02, 0.3])
@pytest.mark.parametrize("sightings", [2, 5, 20])
def test_streaming_frequency_is_not_off_at_the_start(share, sightings) -> None:
    """Of many items of one share, each at its own n-th sighting, the mean of 1 / Q, by which a
    candidate counts, is 1 / share. With the first wait taken for a gap, and from B = 0, log Q was
    too high by 3.
    """
    generator = np.random.default_rng(1)
    items, steps = 800, int(60 / share)
    frequency, seen, at = StreamingFrequency(items), np.zeros(items, int), np.full(items, np.nan)
    for _ in range(steps):
        present = np.flatnonzero(generator.random(items) < share)
        log_q = frequency.observe(torch.tensor(present)).numpy()
        seen[present] += 1
        now = seen[present] == sightings
        at[present[now]] = log_q[now]
    assert np.isfinite(at).all()
    assert np.exp(-at).mean() == pytest.approx(1 / share, rel=0.1)


def test_an_item_first_met_late_is_known_from_its_second_sighting() -> None:
    frequency = StreamingFrequency(2)
    frequency.step += 20_000
    first, second = (frequency.observe(torch.tensor([1])).item() for _ in range(2))
    assert first == pytest.approx(-math.log(20_001))
    assert second == pytest.approx(0)


def test_what_is_no_longer_seen_fades() -> None:
    frequency = StreamingFrequency(2)
    for _ in range(50):
        frequency.observe(torch.tensor([1]))
    frequency.step += 10_000
    assert frequency.log_q(torch.tensor([1])).item() < math.log(1 / 400)


def test_steps_are_counted_beyond_what_float32_holds() -> None:
    frequency = StreamingFrequency(2)
    frequency.step += 2**24
    frequency.last[1] = 2**24
    for _ in range(3):
        frequency.observe(torch.tensor([1]))
    assert int(frequency.step) == 2**24 + 3
    assert frequency.log_q(torch.tensor([1])).item() == pytest.approx(0)
