"""Three ROC-AUCs side by side: pooled over days, daily, and within groups; what they allow to be
said together, and what several seeds of the upstreams add to their intervals.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from headwater.evaluation import Judged, lift_table
from headwater.evaluation.clusters import Clusters, added
from headwater.evaluation.compare import lift_differences
from headwater.evaluation.influence import roc_auc
from headwater.evaluation.interval import over_seeds
from headwater.evaluation.lift import Comparison, corrected
from headwater.evaluation.verdict import agreed, corrected_tone, shown
from headwater.evaluation.within import daily_auc, group_auc, ranked_within

PAGES = 900  # of eight rows, three hundred a day


def paged(seed: int = 0, pages: int = PAGES) -> dict[str, np.ndarray]:
    """Pages with a common part and one of each row, and labels that both decide."""
    generator = np.random.default_rng(seed)
    page = np.repeat(np.arange(pages), 8)
    common = generator.standard_normal(pages)[page]
    own = generator.standard_normal(len(page))
    labels = (generator.random(len(page)) < 1 / (1 + np.exp(2 - common - own))).astype(np.float32)
    return {
        "page": page,
        "common": common,
        "own": own,
        "labels": labels,
        "days": page * 3 // pages + 10,
        "users": page % 300,
        "items": generator.integers(0, 200, len(page)),
    }


def judged(rows: dict[str, np.ndarray], **scores: np.ndarray) -> Judged:
    generator = np.random.default_rng(9)
    by_seed = {
        variant: {s: values + 0.01 * generator.standard_normal(len(values)) for s in range(3)}
        for variant, values in scores.items()
    }
    return Judged(
        rows["labels"],
        rows["users"],
        rows["days"],
        by_seed,
        rows["items"],
        groups_N=rows["page"],
        group="page",
    )


def test_a_lift_has_all_three_with_their_intervals() -> None:
    rows = paged()
    noise = np.random.default_rng(1).standard_normal(len(rows["page"]))
    made = judged(rows, none=rows["common"] + noise, all=rows["common"] + rows["own"] + noise)
    found = {row.variant: row for row in lift_table(made, 0.95)}
    lift = found["all"]
    for metric, within in ((daily_auc, lift.daily), (group_auc, lift.group)):
        values = {
            variant: np.mean([metric(made, scores).value for scores in by_seed.values()])
            for variant, by_seed in made.scores.items()
        }
        assert within.auc == pytest.approx(values["all"])
        assert within.lift_pct == pytest.approx(100 * (values["all"] / values["none"] - 1))
        assert 0 < within.low < within.lift_pct < within.high
        assert within.p_value < 0.001
    raw = lift.as_json()
    assert raw["daily_auc"] == lift.daily.auc
    assert raw["group_low"] == lift.group.low
    assert (raw["group_of"], raw["upstream_seeds"]) == ("page", 1)
    assert found["none"].as_json()["daily_lift_pct"] is None
    assert shown(lift) == "good"


def test_what_gains_over_days_alone_is_not_shown_to_gain() -> None:
    """The better ranker knows which day it is, and nothing of anybody."""
    rows = paged()
    rows["labels"] = (
        np.random.default_rng(2).random(len(rows["page"]))
        < np.array([0.1, 0.2, 0.4])[rows["days"] - 10]
    ).astype(np.float32)
    noise = np.random.default_rng(3).standard_normal(len(rows["page"]))
    made = judged(rows, none=noise, all=noise + rows["days"])
    lift = lift_table(made, 0.95)[1]
    assert lift.low > 0  # pooled, the gain is plain
    assert lift.daily.lift_pct == pytest.approx(0, abs=0.5)
    assert shown(lift) == corrected_tone(lift, 0.05) == "flat"


def test_a_ranker_that_gains_over_pages_and_loses_within_is_mixed() -> None:
    rows = paged()
    noise = np.random.default_rng(4).standard_normal(len(rows["page"]))
    made = judged(rows, none=0.5 * rows["own"] + noise, all=2 * rows["common"] + noise)
    lift = lift_table(made, 0.95)[1]
    assert lift.low > 0
    assert lift.daily.low > 0
    assert lift.group.high < 0
    assert shown(lift) == corrected_tone(lift, 0.05) == "mixed"


@pytest.mark.parametrize(
    ("tones", "said"),
    [
        (("good", "good", "good"), "good"),
        (("good", "good", "flat"), "good"),
        (("good", "flat", "good"), "flat"),
        (("flat", "good", "flat"), "flat"),
        (("good", "good", "bad"), "mixed"),
        (("good", "bad", "flat"), "mixed"),
        (("bad", "bad", "flat"), "bad"),
        (("bad", "flat", "flat"), "flat"),
        (("flat", "flat", "bad"), "bad"),
        (("flat", "flat", "flat"), "flat"),
    ],
)
def test_what_three_allow_together(tones, said) -> None:
    assert agreed(*tones) == said


def test_groups_of_one_class_leave_the_figure_out() -> None:
    rows = paged(pages=300)
    rows["page"] = np.arange(len(rows["page"]))  # every row stands alone
    lift = lift_table(judged(rows, none=rows["own"], all=rows["common"] + rows["own"]), 0.95)[1]
    assert np.isnan(lift.group.auc)
    assert lift.group.p_holm is None
    raw = lift.as_json()
    assert raw["group_auc"] is raw["group_lift_pct"] is raw["group_p_value"] is None
    assert shown(lift) == "good"


def test_holm_by_hand() -> None:
    assert corrected([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_several_seeds_of_the_upstreams_count_as_so_many_trainings() -> None:
    """V_rows + s^2 / N over the replicates' means, and Welch-Satterthwaite's degrees of freedom."""
    rows = paged(pages=300)
    generator = np.random.default_rng(5)
    noise = {seed: generator.standard_normal(len(rows["page"])) for seed in range(6)}
    strength = [0.8, 0.8, 1.1, 1.1, 0.9, 0.9]  # two rankers of each of three upstreams
    scores = {
        "none": {seed: rows["common"] + noise[seed] for seed in range(6)},
        "all": {
            seed: rows["common"] + strength[seed] * rows["own"] + noise[seed] for seed in range(6)
        },
    }
    made = Judged(
        rows["labels"],
        rows["users"],
        rows["days"],
        scores,
        rows["items"],
        groups_N=rows["page"],
        group="page",
        replicate_of={seed: seed // 2 for seed in range(6)},
    )
    lift = lift_table(made, 0.95)[1]
    assert (lift.upstream_seeds, lift.seeds, lift.covers_training) == (3, 6, True)
    strata = np.zeros(len(rows["labels"]), np.int64)
    found = {
        name: [ranked_within(rows["labels"], by_seed[seed], strata) for seed in range(6)]
        for name, by_seed in scores.items()
    }
    now, base = (np.array([one.value for one in found[name]]) for name in ("all", "none"))
    ratio = now.mean() / base.mean()
    changes = 100 * (now - ratio * base) / base.mean()
    parts = (
        100
        * (
            np.mean([one.parts_N for one in found["all"]], axis=0)
            - ratio * np.mean([one.parts_N for one in found["none"]], axis=0)
        )
        / base.mean()
    )
    over_rows = Clusters(rows["users"], rows["items"]).variance(parts)
    total = added([over_rows, over_seeds(changes.reshape(3, 2).mean(axis=1))])
    wide = t.ppf(0.975, total.df) * np.sqrt(total.value)
    assert lift.roc_auc_lift_pct == pytest.approx(100 * (ratio - 1))
    assert lift.high - lift.low == pytest.approx(2 * wide)
    assert lift.df == pytest.approx(total.df)


def test_intervals_over_replicates_cover_the_truth() -> None:
    """Upstreams of equal worth whose seeds decide much: over replicates 95 % miss zero in about
    one of twenty, over rankers' seeds alone in far more.
    """
    missed = {True: 0, False: 0}
    for trial in range(200):
        generator = np.random.default_rng(trial)
        n = 600
        labels = (generator.random(n) < 0.3).astype(np.float32)
        signal = labels + generator.standard_normal(n)
        lucks = generator.normal(0, 0.3, 3)  # of each upstream's seed, which its rankers share
        scores = {
            "none": {s: signal + 0.2 * generator.standard_normal(n) for s in range(6)},
            "all": {
                s: signal + lucks[s // 2] * labels + 0.2 * generator.standard_normal(n)
                for s in range(6)
            },
        }
        ids = np.arange(n)
        for nested in (True, False):
            of = {s: s // 2 for s in range(6)} if nested else {}
            days = np.zeros(n, np.int32)
            made = Judged(labels, ids, days, scores, ids, replicate_of=of)
            lift = Comparison(made).change_pct("all", "none", roc_auc, 0.95)
            missed[nested] += not lift.holds_zero
    assert missed[True] <= 20
    assert missed[False] > 25


def test_two_factories_are_compared_in_all_three() -> None:
    rows = paged(pages=300)
    base = rows["common"] + np.random.default_rng(6).standard_normal(len(rows["page"]))
    one = judged(rows, none=base, all=base + 0.2 * rows["own"])
    other = judged(rows, none=base, all=base + rows["own"])
    (found,) = lift_differences(one, other, 0.95)
    assert found.tone == "good"
    assert found.daily.low > 0
    assert found.group.low > 0
    (back,) = lift_differences(other, one, 0.95)
    assert back.tone == "bad"
    assert back.group.points == pytest.approx(-found.group.points)
