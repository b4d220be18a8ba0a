"""Where a DERM model's time goes: rows/s in training and in making vectors, by phase and by
operation, on synthetic rows.

python -m benchmarks.upstream_profile [--sizes small medium] [--rows 20000] [--threads 1]
"""

from __future__ import annotations

import argparse
import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from headwater.config import UpstreamConfig
from headwater.events import Block, BlockSpec, Examples, Histories
from headwater.models.precision import Precision
from headwater.models.training import Optimizers
from headwater.models.upstream.derm.inputs import tower_tensors
from headwater.models.upstream.derm.learning import batch_of, loss_of, observe, parts_of, steps_of
from headwater.models.upstream.derm.network import Derm, OverTower
from headwater.models.upstream.derm.plan import DermPlan, Past
from headwater.models.upstream.derm.trainee import Trainee
from headwater.models.upstream.derm.work import DermDay
from headwater.nn import RowTable

SPECS = {
    "user": BlockSpec((50, 20, 8), (1001,), 4, ()),
    "item": BlockSpec((2001, 200), (), 3, (32,)),
    "context": BlockSpec((30, 5), (), 6, ()),
    "counters": BlockSpec((), (), 0, ()),
}
DAY = dt.date(2025, 1, 1)


def block(spec: BlockSpec, n: int, generator: np.random.Generator) -> Block:
    return Block(
        np.stack([generator.integers(0, size, n) for size in spec.categorical], axis=1),
        tuple(generator.integers(0, size, (n, 5)) for size in spec.multi),
        generator.standard_normal((n, spec.numeric)).astype(np.float32),
        tuple(generator.standard_normal((n, w)).astype(np.float32) for w in spec.vectors),
        np.zeros((n, 0), np.int64),
    )


def day_of(n: int) -> Examples:
    """Rows of 20,000 users and 5,000 items, each user with the last 20 items met."""
    generator = np.random.default_rng(0)
    items = lambda *shape: (generator.zipf(1.2, shape) % 5_000 + 1).astype(np.uint64)  # noqa: E731
    keys = {"user": generator.integers(1, 20_000, n).astype(np.uint64), "item": items(n)}
    history = Histories(
        items(n, 20),
        generator.integers(0, 4, (n, 20)).astype(np.uint8),
        generator.random((n, 20)).astype(np.float32) * 1e6,
    )
    return Examples(
        "log",
        DAY,
        np.arange(n),
        keys,
        {name: block(SPECS[name], n, generator) for name in keys},
        block(SPECS["context"], n, generator),
        {"user": history},
        {},
        {
            "click": generator.integers(0, 2, n).astype(np.float32),
            "like": generator.integers(0, 2, n).astype(np.float32),
        },
    )


@contextmanager
def named(owner: Any, method: str, phase: str) -> Iterator[None]:
    """Calls of `owner.method` recorded as a phase."""
    original: Callable[..., Any] = getattr(owner, method)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        with record_function(f"# {phase}"):
            return original(*args, **kwargs)

    setattr(owner, method, recorded)
    try:
        yield
    finally:
        setattr(owner, method, original)


def run(size: str, n: int, threads: int) -> None:
    config = UpstreamConfig(tasks=("click", "like"), size=size)
    contexts = {"log": SPECS["context"]}
    specs, histories = (
        {name: SPECS[name] for name in ("user", "item")},
        {"user": {"log": Past("item", 2)}},
    )
    plan = DermPlan("ctr", config, specs, contexts, histories, {"log": config.tasks}, {}, seed=1)
    torch.manual_seed(1)
    torch.set_num_threads(threads)
    trainee, rows, precision = Trainee(plan), day_of(n), Precision.of("cpu", fast=False)
    derm, optimizers = (
        trainee.derm,
        Optimizers(trainee, config.learning_rate, config.id_learning_rate, config.weight_decay),
    )
    task = DermDay(plan, DAY, (rows,), (rows,), None, Path("nowhere"), "")
    parts = parts_of(task)
    observe(plan, trainee, parts, precision)
    towers = {name: tower_tensors(plan, rows, name) for name in plan.entities}

    def train() -> float:
        trainee.train()
        start = time.perf_counter()
        for number, step in enumerate(steps_of(plan, parts, seed=1)):
            with record_function("# rows of the batch"):
                batch = batch_of(task, parts, step, number, precision)
            with record_function("# forward and losses"):
                loss = loss_of(plan, trainee, batch, precision)
            optimizers.step(loss, "profile")
        return n / (time.perf_counter() - start)

    @torch.no_grad()
    def embed(entity: str) -> float:
        trainee.eval()
        start = time.perf_counter()
        for index in torch.arange(n).split(4096):
            x = towers[entity]
            derm.embed(
                entity,
                x._replace(
                    slots_B=x.slots_B[index],
                    features=x.features.rows(index),
                    histories={log: past.rows(index) for log, past in x.histories.items()},
                ),
            )
        return n / (time.perf_counter() - start)

    train()
    rates = sorted(train() for _ in range(3))
    print(
        f"\n== {size}: {rates[1]:,.0f} rows/s in training (of three: {rates[0]:,.0f} to"
        f" {rates[2]:,.0f}), {embed('user'):,.0f} user and {embed('item'):,.0f} item vectors/s,"
        f" {threads} thread(s)"
    )
    with (
        named(RowTable, "forward", "- look-up"),
        named(Derm, "embed", "- towers (with look-ups)"),
        named(OverTower, "forward", "- overtower"),
        named(torch.Tensor, "backward", "backward"),
        named(optimizers.dense, "step", "optimiser: dense"),
        named(optimizers.rows, "step", "optimiser: rows"),
        profile(activities=[ProfilerActivity.CPU]) as seen,
    ):
        train()
    events = seen.key_averages()
    phases = [event for event in events if event.key.startswith("# ")]
    whole = sum(event.cpu_time_total for event in phases if not event.key.startswith("# -"))
    for event in sorted(phases, key=lambda event: -event.cpu_time_total):
        print(
            f"   {event.key[2:]:28} {event.cpu_time_total / whole:6.1%}  "
            f" {event.cpu_time_total / event.count / 1000:8.2f} ms each   {event.count:6} calls"
        )
    print("   -- operations, by their own time")
    operations = [
        event
        for event in events
        if not event.key.startswith("# ") and event.self_cpu_time_total > 0
    ]
    total = sum(event.self_cpu_time_total for event in operations)
    for event in sorted(operations, key=lambda event: -event.self_cpu_time_total)[:12]:
        print(
            f"   {event.key[:44]:44} {event.self_cpu_time_total / total:6.1%}   {event.count:6}"
            " calls"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["small", "medium"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument(
        "--threads", type=int, default=1, help="a factory trains with one, so that bytes repeat"
    )
    options = parser.parse_args()
    for size in options.sizes:
        run(size, options.rows, options.threads)


if __name__ == "__main__":
    main()
