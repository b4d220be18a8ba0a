"""T1: other policies on the days that were run, without training an upstream."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from conftest import day
from headwater.errors import ExperimentError
from headwater.pipeline import Factory
from headwater.rehearsing import T1_POLICIES, policy_table, rehearsal


@pytest.fixture
def copied(done, tmp_path) -> Factory:
    shutil.copytree(done.parent, tmp_path / "copy")
    return Factory.load(tmp_path / "copy" / "factory.yaml")


def test_the_declared_policy_rehearsed_is_what_was_judged(copied) -> None:
    """The same policy, the same daily vectors, a ranker of the same seed: the rehearsal predicts what the factory predicted."""
    made = rehearsal(copied, copied.config.lifecycle.policy, "ctr", "all")
    for n in range(4):
        made.run_day(day(n))
        assert made.edition(day(n)).digest == copied.edition(day(n)).digest
        one, two = (pl.read_parquet(f.home / "predictions" / "ctr" / f"{day(n)}.parquet")["all|0"].to_numpy() for f in (made, copied))
        np.testing.assert_array_equal(one, two)


def test_every_policy_has_its_row(copied) -> None:
    before = (copied.warehouse / "catalog.json").read_bytes()
    policies = {name: T1_POLICIES[name] for name in ("latest (ACC)", "mean of 7 (AP)", "last 3 as a sequence")}
    table = policy_table(copied, policies)
    assert [row.policy for row in table.rows] == list(policies)
    assert len({row.lift.n for row in table.rows}) == 1
    assert (table.rows[0].over_first.low, table.rows[0].over_first.roc_auc_lift_pct) == (0, 0)
    assert set(table.rows[0].age_days) == set(table.rows[0].cosine_day_over_day) == {"ctr_user", "ctr_item", "cvr_user", "cvr_item"}
    assert (copied.warehouse / "catalog.json").read_bytes() == before  # readers notice nothing
    with pytest.raises(ExperimentError, match="consumer 'nobody'"):
        policy_table(copied, policies, consumer="nobody")


def test_the_command_prints_t1(done) -> None:
    command = [sys.executable, "-m", "headwater.app.cli", "lift", "--table", "T1", "--factory", str(done), "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert [row["arm"] for row in found["rows"]] == ["none", *T1_POLICIES]
