"""What a package of somebody else may hold: a class of its own for every seam. It knows Headwater's
public names, and nothing of its tests.
"""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import torch
from torch import nn

from headwater.blobs import expect_key
from headwater.embeddings import Policy
from headwater.embeddings.daily import DailyVectors
from headwater.errors import StoreError
from headwater.files import new_folder
from headwater.index import Index
from headwater.models.downstream import Ranker
from headwater.models.upstream import UpstreamPlan, UpstreamResult
from headwater.store.online import first_of, key_bytes, not_held


class MyBlock(nn.Module):
    """A block: tokens out of a gated mix of the tokens in."""

    def __init__(self, tokens_in, tokens_out, width, hidden, heads):
        super().__init__()
        self.shape = (tokens_out, width)
        self.mix = nn.Linear(tokens_in * width, tokens_out * width)
        self.gate = nn.Linear(tokens_in * width, tokens_out * width)

    def forward(self, x_BTE):
        flat = x_BTE.flatten(1)
        return (self.mix(flat) * torch.sigmoid(self.gate(flat))).unflatten(1, self.shape)


class MyHead(nn.Module):
    """A head: a linear map for each task."""

    def __init__(self, width, hidden, tasks, experts):
        super().__init__()
        self.tasks = tuple(tasks)
        self.towers = nn.ModuleList(nn.Linear(width, 1) for _ in self.tasks)

    def forward(self, x_BF):
        return {
            task: tower(x_BF).squeeze(1)
            for task, tower in zip(self.tasks, self.towers, strict=True)
        }


class MyRanker(Ranker):
    """A ranker: two layers over all that is read."""

    def wire(self, config):
        flat = self.tokens * config.feature_width + self.embedding_width
        self.layers = nn.Sequential(
            nn.Linear(flat, 2 * config.hidden),
            nn.ReLU(),
            nn.Linear(2 * config.hidden, self.tasks),
        )

    def interact(self, tokens_BTE, embeddings_BF):
        flat = tokens_BTE.flatten(1)
        if embeddings_BF is not None:
            flat = torch.cat([flat, embeddings_BF], dim=1)
        return self.layers(flat)


class MyIndex(Index):
    """An index: a graph of 48 links a node, built slowly and well."""

    kind = "mine"

    @classmethod
    def empty(cls, width):
        handle = faiss.IndexHNSWFlat(width, 48, faiss.METRIC_INNER_PRODUCT)
        handle.hnsw.efConstruction = 120
        handle.hnsw.efSearch = 200
        return handle


class MyStore:
    """An online store: a NumPy archive a copy, read whole at first sight."""

    def __init__(self, folder):
        self.folder = folder
        self.read = {}

    def load(self, name, rows, width, records):
        if self.holds(name):
            return
        pairs = list(records)
        keys_N = np.array([int.from_bytes(key, "big") for key, _ in pairs], np.uint64)
        values_NB = np.frombuffer(b"".join(value for _, value in pairs), np.uint8)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{name}.part", "wb") as aside:
            np.savez(aside, keys=keys_N, values=values_NB.reshape(len(pairs), width))
        (self.folder / f"{name}.part").rename(self.folder / f"{name}.npz")

    def get(self, names, keys_N):
        return first_of(names, keys_N, self._look_up)

    def _look_up(self, name, keys):
        if not self.holds(name):
            raise not_held(name)
        if name not in self.read:
            with np.load(self.folder / f"{name}.npz") as raw:
                rows = zip(key_bytes(raw["keys"]), raw["values"], strict=True)
                self.read[name] = {key: row.tobytes() for key, row in rows}
        return [self.read[name].get(key) for key in keys]

    def names(self):
        return {path.stem for path in self.folder.glob("*.npz")}

    def holds(self, name):
        return (self.folder / f"{name}.npz").is_file()

    def keep(self, names):
        for name in self.names() - names:
            (self.folder / f"{name}.npz").unlink()

    def close(self):
        self.read = {}


class MyPolicy(Policy):
    """A policy: the mean of all daily vectors since an entity was first seen."""

    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        count_N1 = np.minimum(steps_N.astype(np.float32) + 1, self.config["most"])[:, None]
        moved = (states_NW + (today_ND - states_NW) / count_N1).astype(np.float32)
        return moved, np.minimum(steps_N.astype(int) + 1, 255).astype(np.uint8)


class MyTracker:
    """A tracker: a line a point, in a file for each factory."""

    def __init__(self, config, name, folder):
        self.path = folder / f"{name}.jsonl"

    def log(self, day, series):
        with open(self.path, "a") as file:
            for name, points in series.items():
                for step, value in points:
                    file.write(json.dumps([name, step, value]) + "\n")


def read_back(path):
    """What a `MyTracker` wrote, by series."""
    found = {}
    for line in path.read_text().splitlines():
        series, step, value = json.loads(line)
        found.setdefault(series, []).append((step, value))
    return found


class MyEngine:
    """An engine: threads of this process."""

    def __init__(self, most):
        self.pool = ThreadPoolExecutor(most)

    def map(self, function, jobs, need=None):
        return self.pool.map(function, jobs)

    def close(self):
        self.pool.shutdown()


class MyBlobs:
    """Blobs: rows of a table in SQLite."""

    def __init__(self, path):
        self.path = path
        with self.open() as table:
            table.execute("create table if not exists blobs (key text primary key, data blob)")

    def open(self):
        return sqlite3.connect(self.path, timeout=60)

    def read(self, key, low=0, high=None):
        with self.open() as table:
            asked = "select data from blobs where key = ?"
            found = table.execute(asked, [expect_key(key)]).fetchone()
        return None if found is None else found[0][low:high]

    def write(self, key, data):
        with self.open() as table:
            table.execute("replace into blobs values (?, ?)", [expect_key(key), data])

    def create(self, key, data):
        with self.open() as table:
            asked = "insert or ignore into blobs values (?, ?)"
            return table.execute(asked, [expect_key(key), data]).rowcount == 1

    def list(self, prefix):
        with self.open() as table:
            rows = table.execute("select key from blobs order by key").fetchall()
        return (key for (key,) in rows if key.startswith(prefix))

    def remove(self, key):
        with self.open() as table:
            table.execute("delete from blobs where key = ?", [expect_key(key)])

    def local(self, prefix):
        raise StoreError(f"{prefix} lies in a table, not in a folder.")


class MyUpstream:
    """An upstream: whoever acted on the same things has a like vector. Each side of a log is the
    faded sum of random directions, one for everybody whom its positive rows met.
    """

    def plan(self, name, settings, declared):
        width = settings.settings["width"]
        made_of = [settings.kind, width, settings.tasks, declared.seed, declared.meaning]
        return UpstreamPlan(
            name=name,
            kind=settings.kind,
            entities=declared.schema.upstream_entities[name],
            width=width,
            tasks=declared.by_log(settings.tasks),
            signature=json.dumps(made_of),
            seed=declared.seed,
        )

    def run(self, job):
        if not job.folder.is_dir():
            with new_folder(job.folder) as aside:
                self._learn(job, aside)
        first_day = np.load(job.folder / "first_day.npy").item()
        space, made = job.plan.space(first_day), []
        for entity in job.plan.entities:
            keys_N, ids = job.ids_of(entity)
            sums = self._sums(job.folder, entity)
            nothing = np.zeros(job.plan.width, np.float32)
            vectors_ND = np.array([sums.get(key, nothing) for key in keys_N.tolist()])
            made.append(DailyVectors(space, entity, keys_N, vectors_ND, ids))
        return UpstreamResult(tuple(made))

    def _learn(self, job, folder):
        before = job.before / "first_day.npy" if job.before else None
        first_day = np.load(before) if before else np.array(job.day, "datetime64[D]")
        np.save(folder / "first_day.npy", first_day)
        for entity in job.plan.entities:
            sums = self._sums(job.before, entity) if before else {}
            sums = {key: np.float32(0.9) * vector for key, vector in sums.items()}
            for rows in job.rows_to_learn():
                (other,) = set(rows.keys) - {entity}
                liked = rows.labels[job.plan.tasks[rows.log][0]] == 1
                pairs = zip(rows.keys[entity][liked], rows.keys[other][liked], strict=True)
                for key, met in pairs:
                    towards = self._direction(job.plan, met)
                    sums[int(key)] = sums.get(int(key), np.float32(0)) + towards
            np.save(folder / f"{entity}.keys.npy", np.array([*sums], np.uint64))
            np.save(folder / f"{entity}.sums.npy", np.array([*sums.values()], np.float32))

    def _sums(self, folder, entity):
        keys, vectors = (np.load(folder / f"{entity}.{part}.npy") for part in ("keys", "sums"))
        return dict(zip(keys.tolist(), vectors, strict=True))

    def _direction(self, plan, key):
        generator = np.random.default_rng([plan.seed, int(key)])
        return generator.standard_normal(plan.width, np.float32)
