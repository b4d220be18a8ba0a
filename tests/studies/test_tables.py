"""Tables made of judged predictions: steps, slices, calibration, and what is said of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from conftest import day, table_at
from headwater.config import load_config
from headwater.errors import ExperimentError
from headwater.evaluation import Judged, Lift, lift_table
from headwater.ids import keys_of
from headwater.studies.calibration import calibration_table
from headwater.studies.comparison import Lifts, control_pairs, interval_note
from headwater.studies.judged import pooled
from headwater.studies.lifts import finding, steps
from headwater.studies.saved import State, keep_table, kept_tables
from headwater.studies.slices import SliceLift
from headwater.workspace import Workspace

NAMES = ("ctr_user", "ctr_item", "cvr_user", "cvr_item")


def test_steps_compare_an_variant_with_the_largest_below_it() -> None:
    variants = ("none", "ctr_user", "ctr_user+ctr_item", "cvr_user+cvr_item", "all", "shuffled")
    assert set(steps(variants, NAMES)) == {
        ("ctr_user+ctr_item", "ctr_user"),
        ("all", "ctr_user+ctr_item"),
        ("all", "cvr_user+cvr_item"),
    }


def test_slices_are_what_a_slow_walk_over_the_log_finds(done) -> None:
    """Users' rows before the day, items' first day and the surface, counted by hand for every
    judged row.
    """
    table = table_at(done, "slices")
    rows = {(row["slice"], row["value"]): row for row in table.rows}
    frame = pl.concat(
        [
            pl.read_parquet(path)
            for path in sorted((done.parent / "world" / "impressions").glob("*.parquet"))
        ]
    )
    frame = frame.with_columns(
        day=pl.col("time").cast(pl.Int64).map_elements(_day_of, pl.Int32),
        u=pl.Series(keys_of(frame["user_id"])),
    )
    judged = frame.filter(pl.col("day").is_between(day(1).toordinal(), day(3).toordinal()))
    by_surface = dict(judged["surface"].value_counts().iter_rows())
    assert {value: row["n"] for (kind, value), row in rows.items() if kind == "surface"} == {
        v: n for v, n in by_surface.items() if n >= 200
    }
    before = []
    for user, of in judged.select("u", "day").iter_rows():
        before.append(int(((frame["u"] == user) & (frame["day"] < of)).sum()))
    counted = np.array(before)
    median = np.median(counted[counted > 0])
    expected = {
        "new": (counted == 0).sum(),
        "light": ((counted > 0) & (counted < median)).sum(),
        "heavy": (counted >= median).sum(),
    }
    assert {value: row["n"] for (kind, value), row in rows.items() if kind == "user"} == {
        v: n for v, n in expected.items() if n >= 200
    }
    one = rows["surface", "home"]
    part = pooled(Workspace.load(done), "ctr")
    assert sum(row["n"] for (kind, _), row in rows.items() if kind == "surface") <= len(
        part.labels_N
    )
    assert one["low"] <= one["roc_auc_lift_pct"] <= one["high"]


def _day_of(us: int) -> int:
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)).date().toordinal()


def test_calibration_by_hand() -> None:
    """Ten bins of equal size; one variant says the truth, the other twice as much."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(0.05, 0.45, 20_000)
    labels = (generator.random(20_000) < truth).astype(np.float32)
    judged = Judged(
        labels,
        np.arange(20_000),
        np.full(20_000, day(1).toordinal()),
        {"none": {0: 2 * truth}, "all": {0: truth}},
        np.arange(20_000) % 4000,
    )
    table = calibration_table("ctr", judged)
    rows = {row["variant"]: row for row in table.rows}
    assert rows["none"]["ratio"] == pytest.approx(2, rel=0.03)
    assert rows["none"]["ece"] == pytest.approx(truth.mean(), rel=0.03)
    assert rows["all"]["ece"] < 0.015
    assert rows["all"]["ratio_low"] < 1 < rows["all"]["ratio_high"] < rows["none"]["ratio_low"]
    assert "not shown to be too high or too low" in table.answer
    assert "One seed of the ranker was trained" in table.answer
    assert len(table.charts[0].series[0].x) == 10


def _judged(strength: dict[str, float]) -> Judged:
    generator = np.random.default_rng(1)
    truth, noise = generator.standard_normal(4000), generator.standard_normal(4000)
    labels = (generator.random(4000) < 1 / (1 + np.exp(-truth))).astype(np.float32)
    return Judged(
        labels,
        np.arange(4000),
        np.full(4000, day(1).toordinal()),
        {variant: {0: s * truth + noise} for variant, s in strength.items()},
        np.arange(4000) % 1000,
    )


@pytest.mark.parametrize(
    ("strength", "said"),
    [
        ({"none": 0.3, "all": 0.6, "shuffled": 0.3}, "raises ROC-AUC by"),
        ({"none": 0.6, "all": 0.3}, "lowers ROC-AUC by"),
        ({"none": 0.5, "all": 0.5}, "no effect is shown"),
        ({"none": 0.3, "all": 0.6, "shuffled": 0.5}, "Beware: the shuffled control lifts too"),
        ({"none": 0.3, "all": 0.6, "shuffled": 0.5}, "; over it the vectors gain +"),
        ({"none": 0.3, "all": 0.6, "shuffled": 0.6}, "over it no gain of the vectors is shown"),
        ({"none": 0.3, "all": 0.6, "shuffled": 0.3}, "The shuffled control does not lift"),
        ({"none": 0.3, "all": 0.6}, "No shuffled control was judged"),
        ({"none": 0.3, "all": 0.6}, "the chance in training is not covered"),
        (
            {"none": 0.3, "cvr_user+cvr_item": 0.5, "all": 0.7},
            "To those of its own upstream the others add",
        ),
    ],
)
def test_the_answer_says_what_the_figures_say(strength, said) -> None:
    further = [("all", "cvr_user+cvr_item")] if "cvr_user+cvr_item" in strength else []
    further += control_pairs(strength, ["all"])
    found = lift_table(_judged(strength), 0.95, further=further)
    assert said in finding("cvr", found, "cvr_user+cvr_item")


def test_the_best_of_several_is_shown_only_after_correction() -> None:
    """Chosen afterwards, its own interval would say too much: of it counts the corrected p."""
    judged = _judged({"none": 0.5, "ctr_user": 0.5, "ctr_item": 0.5})
    generator = np.random.default_rng(2)
    lucky = {0: judged.scores["none"][0] + 0.1 * judged.labels_N * generator.random(4000)}
    rows = lift_table(replace(judged, scores=judged.scores | {"ctr_user": lucky}), 0.95)
    said = finding("ctr", rows, "ctr_user+ctr_item")
    best = next(row for row in rows if row.variant == "ctr_user")
    assert best.low > 0
    assert "raises ROC-AUC" in said
    assert "no effect is shown" in finding(
        "ctr", [replace(row, p_holm=0.06) for row in rows], "ctr_user+ctr_item"
    )


def _moved(lift: Lift, pct: float) -> Lift:
    """The same with pooled and daily ROC-AUC moved by so much, as is shown."""
    daily = replace(lift.daily, lift_pct=pct, p_holm=0.001)
    return replace(lift, roc_auc_lift_pct=pct, p_holm=0.001, daily=daily)


def _slice(lift: Lift, control: Lift | None, over: Lift | None) -> SliceLift:
    return SliceLift("user", "new", 100, 0.1, lift, control, over)


def test_a_slice_gains_only_over_its_own_shuffled_control() -> None:
    """New users gain 2.5 % and their control as much: nothing of it is the vectors' own."""
    found = lift_table(
        _judged({"none": 0.3, "all": 0.6, "shuffled": 0.6}), 0.95, further=[("all", "shuffled")]
    )
    lift, control, over = (
        next(row for row in found if (row.variant, row.baseline) == pair)
        for pair in (("all", "none"), ("shuffled", "none"), ("all", "shuffled"))
    )
    assert _slice(lift, control, over).tone(0.05) == "doubt"
    assert _slice(lift, None, None).tone(0.05) == "good"
    shown = _moved(over, 2.0)
    assert _slice(lift, control, shown).tone(0.05) == "good"
    assert _slice(lift, control, _moved(over, -2.0)).tone(0.05) == "doubt"
    assert _slice(_moved(lift, -1.0), control, over).tone(0.05) == "bad"
    assert _slice(replace(lift, p_holm=0.2), control, shown).tone(0.05) == "flat"


def test_few_users_of_weight_are_said() -> None:
    """One user has most rows: an interval over users rests on few, whatever their number."""
    judged = _judged({"none": 0.3, "all": 0.6})
    users = np.where(np.arange(4000) < 3000, 0, np.arange(4000))
    lifts = Lifts(tuple(lift_table(replace(judged, users_N=users), 0.95)))
    assert lifts.get("all").users_effective < 3
    assert "a rough guide" in interval_note(lifts)
    assert "a rough guide" not in interval_note(Lifts(tuple(lift_table(judged, 0.95))))


def test_a_kept_table_of_an_earlier_state_says_so(done, tmp_path) -> None:
    table = table_at(done, "T2")
    config = load_config(done)
    workspace = Workspace.of(config, tmp_path, warehouse=tmp_path)
    keep_table(workspace, table, State.of(workspace))
    assert kept_tables(workspace) == [replace(table, rows=tuple(table.rows))]
    other = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"confidence": 0.9})}
    )
    assert (
        "or its config"
        in kept_tables(Workspace.of(other, tmp_path, warehouse=tmp_path))[0].notes[0]
    )
    from headwater.files import read_json, write_json

    path = next((tmp_path / "tables").glob("*.json"))
    write_json(path, read_json(path) | {"state": {"day": "2025-01-01", "rests_on": "x"}})
    assert (
        kept_tables(workspace)[0]
        .notes[0]
        .startswith(
            "Made on an earlier state of the factory or its config, when 2025-01-01 was live"
        )
    )


def test_a_table_of_a_consumer_that_is_not_there_names_those_that_are(done) -> None:
    with pytest.raises(ExperimentError, match="this factory has: ctr, cvr"):
        table_at(done, "T2", "nobody")
