"""Training logged elsewhere: loss curves and daily figures to TensorBoard or MLflow. Both are
extras; a tracker that fails stops no day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from headwater.blobs import Layout
from headwater.config import TrackingConfig
from headwater.console import Console
from headwater.embeddings.snapshot import day_number
from headwater.errors import ConfigError
from headwater.plugins import resolve
from headwater.store.reports import DayReport

Series = Mapping[str, Sequence[tuple[int, float]]]


class Tracker(Protocol):
    """Where figures go. Made once a day as `Tracker(config, name, folder)`: the factory's name and
    lane, and where its files may lie.
    """

    def __init__(self, config: TrackingConfig, name: str, folder: Path) -> None: ...

    def log(self, day: dt.date, series: Series) -> None:
        """Take in a day: points (step, value) by name."""


class TensorBoard:
    """Event files in `uri`, or in `tracking/` in the warehouse: `tensorboard --logdir` shows
    them.
    """

    def __init__(self, config: TrackingConfig, name: str, folder: Path) -> None:
        self.folder = Path(config.uri) if config.uri else folder
        self.name = name

    def log(self, day: dt.date, series: Series) -> None:
        from torch.utils.tensorboard import SummaryWriter

        moment = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC).timestamp()
        with SummaryWriter(self.folder / self.name) as writer:
            for name, points in series.items():
                for step, value in points:
                    writer.add_scalar(name, value, step, walltime=moment)


class MlFlow:
    """One run a factory and lane, in the experiment of the factory's name, at the tracking server
    `uri`.
    """

    def __init__(self, config: TrackingConfig, name: str, folder: Path) -> None:
        assert config.uri is not None  # the config has seen to it
        self.uri, self.name = config.uri, name

    def log(self, day: dt.date, series: Series) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        client = MlflowClient(tracking_uri=self.uri)
        known = client.get_experiment_by_name(self.name)
        experiment = known.experiment_id if known else client.create_experiment(self.name)
        runs = client.search_runs([experiment], filter_string="tags.headwater = 'factory'")
        run = (
            runs[0]
            if runs
            else client.create_run(experiment, tags={"headwater": "factory"}, run_name=self.name)
        )
        moment = int(dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC).timestamp() * 1000)
        metrics = [
            Metric(name, value, moment, step)
            for name, points in series.items()
            for step, value in points
        ]
        for low in range(0, len(metrics), 1000):  # the most that a server takes at once
            client.log_batch(run.info.run_id, metrics[low : low + 1000])


TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MlFlow}


def track(
    config: TrackingConfig | None,
    name: str,
    layout: Layout,
    report: DayReport,
    console: Console,
) -> None:
    """Log a day's report where the config says, if it says so. What goes wrong is told on the
    console, and the day goes on. Raises ConfigError for a tracker that is not there.
    """
    if config is None:
        return
    try:
        kind: type[Tracker] = resolve("headwater.tracker", TRACKERS, config.kind)
        kind(config, name, layout.tracking).log(report.day, series_of(report))
    except ConfigError:
        raise
    except ImportError as error:
        console.log(
            f"tracking: {config.kind} is not installed ({error}); pip install"
            f" 'headwater[{config.kind}]'. The day goes on."
        )
    except Exception as error:  # a tracking server that is away must cost no day
        console.log(f"tracking: {config.kind} failed ({error}). The day goes on.")


def series_of(report: DayReport) -> dict[str, list[tuple[int, float]]]:
    """Loss curves by batch since a space began; ROC-AUC (over all rows, and within groups),
    coverage and cosines by day (since 1970).
    """
    today = day_number(report.day)
    found: dict[str, list[tuple[int, float]]] = {}
    for upstream, training in report.upstream.items():
        before, total = training.total_steps - training.steps, training.total_steps
        found[f"upstream/{upstream}/loss"] = [(before + n, loss) for n, loss in training.curve]
        if training.temperature is not None:
            found[f"upstream/{upstream}/temperature"] = [(total, training.temperature)]
    for ranker, judged in report.quality.items():
        for metric, by_variant in (("roc_auc", judged.roc_auc), ("group_auc", judged.group_auc)):
            for variant, value in by_variant.items():
                if value is not None:
                    found[f"{metric}/{ranker}/{_plain(variant)}"] = [(today, value)]
    for name, share in report.coverage.items():
        found[f"coverage/{name}"] = [(today, share)]
    for name, health in report.snapshots.items():
        if health.cosine_median is not None:
            found[f"cosine/{name}"] = [(today, health.cosine_median)]
    return found


def _plain(variant: str) -> str:
    """A variant's name as both trackers take it: no + nor ~."""
    return variant.replace("+", " and ").replace("~", " shuffled ")
