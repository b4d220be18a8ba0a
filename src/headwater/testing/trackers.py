"""What every tracker keeps to: the points of a day come out where they are looked at."""

from __future__ import annotations

import copy
import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from headwater.config import TrackingConfig
from headwater.pipeline.tracking import Series, Tracker

FIRST = dt.date(2025, 1, 6)
# names, steps and values as a day's report gives them: a loss a batch, figures a day
DAYS: tuple[Series, ...] = (
    {
        "upstream/ctr/loss": [(1, 0.6931472), (2, 0.5)],
        "roc_auc/ctr/a and b": [(20094, 0.71)],
        "cosine/ctr_user": [],
    },
    {
        "upstream/ctr/loss": [(3, 1e-6), (4, 12345.5)],
        "roc_auc/ctr/a and b": [(20095, 0.0)],
        "coverage/ctr_user": [(20095, 1.0)],
    },
    {},
)


class TrackerContract(ABC):
    """Subclass it with `make` and `logged`. `uri` is what the config's `tracking.uri` is to be."""

    uri: str | None = None

    @abstractmethod
    def make(self, config: TrackingConfig, name: str, folder: Path) -> Tracker:
        """A tracker, as a day makes it: `name` is the factory's and its lane's, `folder` is where
        files may lie.
        """

    @abstractmethod
    def logged(self, name: str, folder: Path) -> Mapping[str, list[tuple[int, float]]]:
        """What was logged of `name` up to now, by series, in the order of the steps."""

    def log(self, name: str, folder: Path, days: int) -> None:
        """The first days, each by a tracker of its own, as a factory does."""
        config = TrackingConfig(kind="contract", uri=self.uri)
        for n in range(days):
            frozen = MappingProxyType(DAYS[n])
            self.make(config, name, folder).log(FIRST + dt.timedelta(days=n), frozen)

    def test_points_come_out_as_they_went_in(self, tmp_path: Path) -> None:
        self.log("shop.main", tmp_path, 1)
        _same(self.logged("shop.main", tmp_path), DAYS[0])

    def test_a_day_goes_on_where_the_days_before_it_ended(self, tmp_path: Path) -> None:
        self.log("shop.main", tmp_path, len(DAYS))
        expected: dict[str, list[tuple[int, float]]] = {}
        for day in DAYS:
            for series, points in day.items():
                expected.setdefault(series, []).extend(points)
        _same(self.logged("shop.main", tmp_path), expected)

    def test_two_lanes_do_not_meet(self, tmp_path: Path) -> None:
        self.log("shop.main", tmp_path, 1)
        self.log("shop.v2", tmp_path, 2)
        _same(self.logged("shop.main", tmp_path), DAYS[0])

    def test_what_it_is_given_is_left_as_it_is(self, tmp_path: Path) -> None:
        before = copy.deepcopy(DAYS)
        self.log("shop.main", tmp_path, len(DAYS))
        assert before == DAYS


def _same(found: Mapping[str, list[tuple[int, float]]], expected: Series) -> None:
    """Equal steps, and values equal as float32; a series without a point need not be there."""
    there = {name for name, points in expected.items() if points}
    assert {name for name, points in found.items() if points} == there
    for name in there:
        assert [step for step, _ in found[name]] == [step for step, _ in expected[name]], name
        wanted = [value for _, value in expected[name]]
        assert [value for _, value in found[name]] == pytest.approx(wanted, rel=1e-6), name
