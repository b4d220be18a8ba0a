"""Backtests: other policies and other rankers on the days that were run, without training an
upstream.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from at import catalog_bytes
from conftest import day, table_at
from headwater.backtests.ablations import ablation_table, ablations
from headwater.backtests.backtest import Backtest, run_of
from headwater.backtests.contribution import contribution_table
from headwater.backtests.policies import T1_POLICIES, policy_table
from headwater.backtests.projections import projection_table
from headwater.backtests.staleness import staleness_table
from headwater.backtests.subsets import subset_table
from headwater.errors import ExperimentError
from headwater.evidence import report_tables
from headwater.factory import Factory
from headwater.pipeline.day import Day
from headwater.pipeline.replay import run_or_replay
from headwater.pipeline.run import Run
from headwater.studies.saved import kept_tables
from headwater.workspace import Workspace


@pytest.fixture(scope="module")
def copied(done, tmp_path_factory) -> Factory:
    folder = tmp_path_factory.mktemp("backtested") / "copy"
    shutil.copytree(done.parent, folder)
    return Factory.load(folder / "factory.yaml")


def test_the_declared_policy_backtested_is_what_was_judged(copied) -> None:
    """The same policy, the same daily vectors, a ranker of the same seed: the backtest predicts
    what the factory predicted.
    """
    made = run_of(copied.run, "ctr", Backtest(copied.config.downstream["ctr"], ("all",)))
    for n in range(4):
        run_or_replay(made, Day(day(n)))
        assert made.workspace.edition(day(n)).digest == copied.workspace.edition(day(n)).digest
        one, two = (
            pl.read_parquet(f.workspace.layout.predictions("ctr", day(n)))["all|0"].to_numpy()
            for f in (made, copied)
        )
        np.testing.assert_array_equal(one, two)


def test_every_policy_has_its_row_and_readers_notice_nothing(copied) -> None:
    before = catalog_bytes(copied.workspace.layout.root)
    policies = {
        name: T1_POLICIES[name]
        for name in ("latest (ACC)", "mean of 7 (AP)", "last 3 as a sequence")
    }
    table = policy_table(copied.run, policies)
    assert [row["variant"] for row in table.rows] == ["none", *policies, "shuffled"]
    assert len({row["n"] for row in table.rows}) == 1
    first = table.rows[1]
    assert "over_first_pct" not in first
    assert "over_first_pct" in table.rows[2]
    assert (
        set(first["age_days"])
        == set(first["cosine_day_over_day"])
        == {"ctr_user", "ctr_item", "cvr_user", "cvr_item"}
    )
    assert catalog_bytes(copied.workspace.layout.root) == before
    with pytest.raises(ExperimentError, match="consumer 'nobody'; this factory has: ctr, cvr"):
        policy_table(copied.run, policies, consumer="nobody")
    # what was judged is kept, and the rest is not; asked again, nothing is trained again
    kept = sorted((copied.workspace.layout.root / "backtests").glob("*/done.json"))
    assert len(kept) == 5
    assert (
        not list((copied.workspace.layout.root / "backtests").glob("*/models"))
        or len(list((copied.workspace.layout.root / "backtests").glob("*/models"))) == 1
    )
    times = [path.parent.joinpath("judged").stat().st_mtime_ns for path in kept]
    assert policy_table(copied.run, policies).rows == table.rows
    assert [path.parent.joinpath("judged").stat().st_mtime_ns for path in kept] == times


def test_every_subset_is_judged_and_agrees_with_the_factory(copied) -> None:
    table = subset_table(copied.run)
    variants = [row["variant"] for row in table.rows if row["baseline"] == "none"]
    assert len(variants) == len(set(variants)) == 17  # sixteen subsets, and the control
    declared = {
        row["variant"]: row["roc_auc"]
        for row in table_at(copied.workspace.root / "factory.yaml", "T2").rows
    }
    found = {row["variant"]: row["roc_auc"] for row in table.rows}
    assert {
        variant: found[variant] for variant in declared
    } == declared  # trained anew, to the same bytes


def judged_from_day_3(factory: Factory) -> Workspace:
    span = factory.config.evaluation.model_copy(update={"start": day(3)})
    config = factory.config.model_copy(update={"evaluation": span})
    return Workspace.of(config, factory.workspace.root)


def test_frozen_vectors_are_older_and_the_fresh_ones_are_the_factory_s(copied) -> None:
    table = staleness_table(Run.of(judged_from_day_3(copied)), ages=(0, 1, 2, 5))
    assert [row["frozen"] for row in table.rows] == [
        "0 days",
        "1 days",
        "2 days",
        "shuffled, 0 days",
    ]  # day 3 had no edition five days older
    assert "Longer than 2 days" in table.notes[2]
    fresh, one_day = table.rows[0], table.rows[1]
    assert one_day["roc_auc"] != fresh["roc_auc"]
    predictions = next((copied.workspace.layout.root / "backtests").glob("*/judged/ctr/*.parquet"))
    assert predictions.is_file()


def test_contribution_drops_and_shuffles_each(copied) -> None:
    table = contribution_table(copied.run)
    assert [row["embedding"] for row in table.rows] == [
        "ctr_user",
        "ctr_item",
        "cvr_user",
        "cvr_item",
    ]
    assert all(row["bytes"] == 4 * 16 for row in table.rows)  # tiny vectors of 16 float32
    assert all(row["dropped_pct"] != row["shuffled_pct"] for row in table.rows)


def test_projection_costs_and_money(copied) -> None:
    table = projection_table(
        copied.run, core_hour_price=2.0, rows_a_day=1e6, widths=(64, 4)
    )  # 64 is wider than the vectors: not asked
    rows = {row["projection"]: row for row in table.rows}
    assert list(rows) == ["none", "shuffled", "as they are", "to 4"]
    whole, narrow = rows["as they are"], rows["to 4"]
    assert (whole["joined_numbers"], narrow["joined_numbers"]) == (
        4 * (16 + 2) + 2,
        4 * (4 + 2) + 2,
    )
    assert narrow["dense_bytes"] < whole["dense_bytes"]
    assert narrow["saved_a_year"] == pytest.approx(
        2.0 * (whole["core_hours_a_year"] - narrow["core_hours_a_year"])
    )
    assert "verdict" not in whole
    assert narrow["verdict"] in (
        "no worse, within the margin",
        "not shown to be no worse",
        "worse",
    )
    assert any("evaluation.margin_pct" in note for note in table.notes)
    assert whole["core_hours_a_year"] == pytest.approx(1e6 / whole["rows_a_second"] / 3600 * 365)


def test_upstreams_trained_anew_as_declared_are_the_factory_s_to_the_byte(copied) -> None:
    """The same upstreams, learnt again from the logs: the same editions, so that an ablation
    differs by nothing but what it leaves out.
    """
    made = run_of(
        copied.run,
        "ctr",
        Backtest(copied.config.downstream["ctr"], ("all",), upstreams=copied.config.upstreams),
    )
    for n in range(2):
        run_or_replay(made, Day(day(n)))
        assert made.workspace.edition(day(n)).digest == copied.workspace.edition(day(n)).digest
    made.close()


def test_ablations_change_one_thing_each(copied) -> None:
    declared = copied.config.upstreams
    found = ablations(declared)
    assert list(found) == [
        "no contrastive loss",
        "no overtower",
        "DHEN of mlp only",
        "DHEN of masknet only",
        "DHEN of transformer only",
        "DHEN of dcn only",
        "no ids (content only)",
        "one unified upstream",
    ]
    for name, upstreams in found.items():
        if name != "one unified upstream":
            differs = {
                field
                for up in declared
                for field in type(declared[up]).model_fields
                if getattr(upstreams[up], field) != getattr(declared[up], field)
            }
            assert len(differs) == 1, name
    assert found["one unified upstream"]["unified"].tasks == ("click", "long_click", "purchase")
    without = {
        name: spec.model_copy(update={"contrastive_weight": 0.0, "overtower": False, "ids": False})
        for name, spec in declared.items()
    }
    assert list(ablations(without))[:2] == ["with the contrastive loss", "with an overtower"]


def test_t7_trains_the_ablations_and_compares_them_with_what_is_declared(copied) -> None:
    chosen = ("no overtower", "one unified upstream")
    table = ablation_table(copied.run, only=chosen)
    rows = {row["upstream"]: row for row in table.rows}
    assert list(rows) == ["none", "shuffled", "as declared", *chosen]
    assert (
        rows["as declared"]["numbers"] == rows["no overtower"]["numbers"] == 4 * 16
    )  # vectors of 16 numbers
    assert rows["one unified upstream"]["numbers"] == 2 * 16
    assert len({row["n"] for row in table.rows}) == 1
    for name in chosen:
        row = rows[name]
        assert row["over_declared_low"] <= row["over_declared_pct"] <= row["over_declared_high"]
        assert row["roc_auc"] != rows["as declared"]["roc_auc"]
        assert row["verdict"] == "none from one upstream seed"
        assert row["p_holm"] is None
    assert "over_declared_pct" not in rows["as declared"]
    with pytest.raises(
        ExperimentError, match="no ablation named 'no towers'; there are: no contrastive loss"
    ):
        ablation_table(copied.run, only=("no towers",))


def test_the_command_keeps_its_table_for_the_report(copied) -> None:
    command = [
        sys.executable,
        "-m",
        "headwater.cli.main",
        "lift",
        "--table",
        "contribution",
        "--factory",
        str(copied.workspace.root / "factory.yaml"),
        "--json",
    ]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [row["embedding"] for row in found["rows"]] == [
        "ctr_user",
        "ctr_item",
        "cvr_user",
        "cvr_item",
    ]
    (kept,) = kept_tables(copied.workspace)
    assert json.loads(json.dumps(kept.as_json())) == found
    names = [table.name for table in report_tables(judged_from_day_3(copied))]
    assert names == ["T2", "contribution", "slices", "calibration"]  # T3: none has matured yet
