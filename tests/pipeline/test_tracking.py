"""Training logged elsewhere: what is logged, where it goes, and that a tracker which fails stops no
day.
"""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import day
from headwater.console import Console
from headwater.embeddings.daily import Training
from headwater.errors import ConfigError
from headwater.pipeline.tracking import series_of
from headwater.store.reports import DayReport, Quality, SnapshotHealth


def with_tracking(kind: str, uri: str | None = None):
    def change(raw) -> None:
        raw["downstream"] = {}
        raw["tracking"] = {"kind": kind, "uri": uri}

    return change


def health_of(cosine: float | None) -> SnapshotHealth:
    return SnapshotHealth(
        rows=1,
        fresh=1,
        space="",
        digest="",
        segments=1,
        cosine_median=cosine,
        cosine_p10=None,
        age_mean_days=None,
        age_p90_days=None,
        cohorts={},
        gates=(),
    )


def test_the_series_of_a_day_by_hand() -> None:
    curve = ((2, 0.7), (4, 0.5))
    report = DayReport(
        day=dt.date(1970, 1, 11),
        fingerprint="",
        edition="",
        upstream={"ctr": Training(steps=4, total_steps=10, curve=curve, temperature=0.08)},
        quality={"ctr": Quality(dt.date(1970, 1, 10), 9, {"none": 0.6, "a+b": 0.7, "new": None})},
        coverage={"ctr_user": 0.9},
        snapshots={"ctr_user": health_of(0.8), "ctr_item": health_of(None)},
    )
    assert series_of(report) == {
        "upstream/ctr/loss": [(8, 0.7), (10, 0.5)],
        "upstream/ctr/temperature": [(10, 0.08)],
        "roc_auc/ctr/none": [(10, 0.6)],
        "roc_auc/ctr/a and b": [(10, 0.7)],
        "coverage/ctr_user": [(10, 0.9)],
        "cosine/ctr_user": [(10, 0.8)],
    }


def test_tensorboard_holds_the_loss_of_every_batch_since_the_space_began(make_factory) -> None:
    pytest.importorskip(
        "tensorboard", reason="TensorBoard is not installed: pip install 'headwater[tensorboard]'"
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    factory = make_factory(with_tracking("tensorboard"))
    reports = list(factory.backfill(day(0), day(1)))
    events = EventAccumulator(str(factory.workspace.layout.root / "tracking" / "adsworld.main"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("upstream/ctr/loss")]
    expected = [point for report in reports for point in series_of(report)["upstream/ctr/loss"]]
    assert (
        [step for step, _ in found]
        == [step for step, _ in expected]
        == list(range(1, len(expected) + 1))
    )
    assert [value for _, value in found] == pytest.approx([value for _, value in expected])


def test_mlflow_gets_one_run_a_factory(make_factory, tmp_path, monkeypatch) -> None:
    mlflow = pytest.importorskip(
        "mlflow", reason="MLflow is not installed: pip install 'headwater[mlflow]'"
    )
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlflow").as_uri()
    factory = make_factory(with_tracking("mlflow", uri))
    list(factory.backfill(day(0), day(1)))
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("adsworld.main")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "upstream/ctr/loss")
    assert [metric.step for metric in history] == list(range(1, len(history) + 1))


TRACKER = """
class Broken:
    def __init__(self, config, name, folder):
        pass

    def log(self, day, series):
        raise ConnectionError("nobody is there")
"""


def test_a_tracker_that_fails_or_is_not_installed_stops_no_day(
    make_factory, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "broken_tracker.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    factory = make_factory(with_tracking("broken_tracker:Broken"))
    told = io.StringIO()
    console = Console()
    console._rich.file = told
    factory.run = replace(factory.run, console=console)
    factory.run_day(day(0))
    assert "nobody is there" in told.getvalue()
    assert factory.days_done() == [day(0)]


def test_mlflow_needs_a_server(make_factory) -> None:
    with pytest.raises(ConfigError, match="mlflow needs the uri of its tracking server"):
        make_factory(with_tracking("mlflow"))


def test_an_unknown_tracker_is_said_before_a_day_is_run(make_factory) -> None:
    with pytest.raises(
        ConfigError, match="no tracker named 'wandb'; there are: tensorboard, mlflow"
    ):
        make_factory(with_tracking("wandb"))
