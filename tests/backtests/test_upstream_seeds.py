"""Several seeds of the upstreams: replicates that share rows and no seed, and what tables make of
them.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from conftest import day
from headwater.backtests.ablations import ablation_table
from headwater.backtests.backtest import Backtest, backtest
from headwater.backtests.upstream_seeds import joined, replicate, seeded_lift_table
from headwater.errors import ExperimentError
from headwater.evidence import ask, with_upstream_seeds
from headwater.factory import Factory


@pytest.fixture(scope="module")
def copied(done, tmp_path_factory) -> Factory:
    folder = tmp_path_factory.mktemp("reseeded") / "copy"
    shutil.copytree(done.parent, folder)
    return Factory.load(folder / "factory.yaml")


def test_replicates_share_no_seed(copied) -> None:
    config = copied.config
    spec = config.downstream["ctr"].model_copy(update={"seeds": (3, 5, 4)})
    made = [replicate(config, Backtest(spec, ("none", "all")), number) for number in range(3)]
    assert made[0].upstreams is None  # the factory's own vectors
    assert [one.spec.seeds for one in made] == [(3, 5, 4), (6, 8, 7), (9, 11, 10)]
    assert [one.upstreams["ctr"].seed for one in made[1:]] == [config.seed + 1, config.seed + 2]
    declared = {name: up.model_copy(update={"seed": 40}) for name, up in config.upstreams.items()}
    own = replicate(config, Backtest(spec, ("all",), upstreams=declared), 2)
    assert own.upstreams["cvr"].seed == 42


def test_t2_over_upstream_seeds_takes_the_factory_s_own_and_trains_the_others(copied) -> None:
    table = seeded_lift_table(copied.run, seeds=2)
    rows = {row["variant"]: row for row in table.rows if row["baseline"] == "none"}
    assert list(rows) == ["none", "all", "shuffled"]
    assert {row["upstream_seeds"] for row in table.rows} == {2}
    judged = copied.workspace.judged("ctr", [day(n) for n in range(4)])
    spec = copied.config.downstream["ctr"]
    declared = Backtest(spec, spec.variants)
    again = backtest(
        copied.run,
        "T2",
        "ctr",
        {"own": declared, "other": replicate(copied.config, declared, 1)},
    )
    np.testing.assert_array_equal(again["own"].judged.scores["all"][0], judged.scores["all"][0])
    other = again["other"].judged.scores
    assert not np.array_equal(other["all"][1], judged.scores["all"][0])
    assert not np.array_equal(other["none"][1], judged.scores["none"][0])  # a ranker of its own
    both = joined([again["own"].judged, again["other"].judged])
    assert set(both.scores["all"]) == {0, 1}
    assert both.replicate_of == {0: 0, 1: 1}
    with pytest.raises(ExperimentError, match="Expected --upstream-seeds 2 or more, received 1"):
        seeded_lift_table(copied.run, seeds=1)


def test_t7_gives_verdicts_of_several_seeds_only(copied) -> None:
    chosen = ("no overtower", "one unified upstream")
    table = ablation_table(copied.run, only=chosen, seeds=2, seeded=("no overtower",))
    rows = {row["upstream"]: row for row in table.rows}
    assert rows["as declared"]["upstream_seeds"] == rows["no overtower"]["upstream_seeds"] == 2
    assert rows["one unified upstream"]["upstream_seeds"] == 1
    assert rows["one unified upstream"]["verdict"] == "none from one upstream seed"
    assert rows["one unified upstream"]["p_holm"] is None
    assert rows["no overtower"]["verdict"] in ("no difference shown", "worse", "better", "mixed")
    assert rows["no overtower"]["p_holm"] is not None
    covered = "2 seeds of the upstreams, each with 1 seeds of the ranker of its own"
    assert any(covered in note and "its chance is not covered" in note for note in table.notes)
    with pytest.raises(ExperimentError, match="no ablation named 'no towers'"):
        ablation_table(copied.run, only=chosen, seeds=2, seeded=("no towers",))


def test_what_is_asked_for(copied) -> None:
    asked = ask(copied.workspace, "T2")
    assert with_upstream_seeds(asked, None).study.name == "T2"
    assert with_upstream_seeds(asked, 1).study.name == "T2"
    several = with_upstream_seeds(asked, 3)
    assert (several.study.name, several.upstream_seeds) == ("T2-upstream-seeds", 3)
    assert with_upstream_seeds(ask(copied.workspace, "T7"), 3, ("a",)).seeded == ("a",)
    with pytest.raises(ExperimentError, match="are about T2, T2-upstream-seeds, T7; received"):
        with_upstream_seeds(ask(copied.workspace, "T1"), 3)
    with pytest.raises(ExperimentError, match="--seeded names ablations of T7"):
        with_upstream_seeds(asked, 3, ("a",))
