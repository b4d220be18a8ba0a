"""Our own trackers keep the contract. What a factory logs: test_tracking.py."""

from __future__ import annotations

import pytest

from headwater.config import TrackingConfig
from headwater.pipeline.tracking import MlFlow, TensorBoard
from headwater.testing import TrackerContract


class TestTensorBoard(TrackerContract):
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip(
            "tensorboard",
            reason="TensorBoard is not installed: pip install 'headwater[tensorboard]'",
        )

    def make(self, config, name, folder):
        return TensorBoard(config, name, folder)

    def logged(self, name, folder):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder / name))
        events.Reload()
        return {
            series: [(event.step, event.value) for event in events.Scalars(series)]
            for series in events.Tags()["scalars"]
        }


class TestMlFlow(TrackerContract):
    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch) -> None:
        pytest.importorskip(
            "mlflow", reason="MLflow is not installed: pip install 'headwater[mlflow]'"
        )
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")

    def make(self, config, name, folder):
        server = (folder / "mlflow").as_uri()
        return MlFlow(TrackingConfig(kind="mlflow", uri=server), name, folder)

    def logged(self, name, folder):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
        experiment = client.get_experiment_by_name(name)
        (run,) = client.search_runs([experiment.experiment_id])
        return {
            series: [
                (point.step, point.value)
                for point in client.get_metric_history(run.info.run_id, series)
            ]
            for series in run.data.metrics
        }
