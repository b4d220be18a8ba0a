"""Who lacks a vector is ranked as well as if there were none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from conftest import day
from headwater.config import SHUFFLED
from headwater.models.downstream import Predicted, fall_back


def of_variants(change: Callable[[dict[str, Any]], None] | None = None) -> Callable[..., None]:
    def changed(raw: dict[str, Any]) -> None:
        for consumer in raw["downstream"].values():
            consumer["variants"] = ["none", "ctr_user", "all", SHUFFLED]
        if change is not None:
            change(raw)

    return changed


def judged_of(factory: Any, on: int) -> pl.DataFrame:
    return pl.read_parquet(factory.workspace.layout.predictions("ctr", day(on)))


def alike(frame: pl.DataFrame, variant: str, seed: int) -> np.ndarray:
    return (frame[f"{variant}|{seed}"] == frame[f"none|{seed}"]).to_numpy()


def test_by_hand() -> None:
    own = Predicted({3: np.array([0.1, 0.2, 0.3])}, np.array([True, False, True]))
    base = Predicted({3: np.array([0.7, 0.8, 0.9])}, np.ones(3, bool))
    assert fall_back(own, base).scores[3].tolist() == [0.1, 0.8, 0.3]


def test_rows_without_a_vector_are_predicted_by_what_reads_none(make_factory) -> None:
    factory = make_factory(of_variants())
    for n in range(3):
        factory.run_day(day(n))
    frame = judged_of(factory, 2)
    view = factory.workspace.served_on(day(2))
    found = {}
    for name, entity in (("ctr_user", "user"), ("ctr_item", "item"), ("cvr_user", "user")):
        served = view.read(name, frame[entity].to_numpy(), day(2))
        found[name] = np.zeros(len(frame), bool) if served is None else served.found_N
    item = view.read("cvr_item", frame["item"].to_numpy(), day(2))
    whole = found["ctr_user"] & found["ctr_item"] & found["cvr_user"]
    whole &= np.zeros(len(frame), bool) if item is None else item.found_N
    for seed in factory.workspace.config.downstream["ctr"].seeds:
        assert alike(frame, "all", seed)[~whole].all()
        assert alike(frame, SHUFFLED, seed)[~whole].all()  # its control falls back alike
        assert alike(frame, "ctr_user", seed)[~found["ctr_user"]].all()
        assert not alike(frame, "ctr_user", seed)[found["ctr_user"]].any()
    assert 0 < found["ctr_user"].mean() < 1


def test_it_can_be_left_out(make_factory) -> None:
    def plainly(raw: dict[str, Any]) -> None:
        raw["downstream"]["ctr"]["fall_back"] = False

    factory = make_factory(of_variants(plainly))
    for n in range(2):
        factory.run_day(day(n))
    assert not alike(judged_of(factory, 1), "all", 0).any()
