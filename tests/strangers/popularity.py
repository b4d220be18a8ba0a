"""A kind of upstream of somebody else: no model, and still user and item vectors that make a pair.
It knows Headwater's public names, and nothing of its tests.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl

from headwater.digests import digest_of
from headwater.embeddings import Space
from headwater.embeddings.daily import DailyVectors, Training
from headwater.files import new_folder
from headwater.ids import keys_of
from headwater.models.upstream import Needs, UpstreamPlan, UpstreamResult

WIDTH = 8


class Popularity:
    """Every id is a direction of its own. An item leans towards all users with each click that it
    got since the space began, a user towards the items that they clicked on in three days.
    """

    def plan(self, name, settings, declared):
        schema = declared.schema
        tasks = {
            log: tuple(task for task in settings.tasks if schema.tasks[task].log == log)
            for log in schema.upstream_logs[name]
        }
        signature = digest_of(name, settings.settings, tasks, declared.seed, declared.meaning)
        entities = schema.upstream_entities[name]
        needs = Needs(window_days=3)
        return UpstreamPlan(
            name, settings.kind, entities, WIDTH, tasks, signature, declared.seed, needs
        )

    def run(self, job):
        state = {"first_day": str(job.day), "clicks": {}}
        if job.before is not None:
            state = json.loads((job.before / "state.json").read_text())
        clicks = Counter(state["clicks"])
        for rows in job.rows_to_learn():
            clicks.update(map(str, rows.keys["item"][clicked(rows)].tolist()))
        if not job.folder.is_dir():
            kept = {"first_day": state["first_day"], "clicks": dict(sorted(clicks.items()))}
            with new_folder(job.folder) as aside:
                (aside / "state.json").write_text(json.dumps(kept))
        space = job.plan.space(dt.date.fromisoformat(state["first_day"]))
        leaning = {"item": self.items, "user": self.users}
        vectors = tuple(
            DailyVectors.of_ids(space, entity, ids, leaning[entity](job, keys, clicks))
            for entity in job.plan.entities
            for keys, ids in [job.ids_of(entity)]
        )
        return UpstreamResult(vectors, Training(total_steps=clicks.total()))

    def items(self, job, keys_N, clicks):
        vectors_ND = directions(keys_N, job.plan.seed)
        vectors_ND[:, 0] += np.log1p([clicks[str(key)] for key in keys_N.tolist()])
        return unit(vectors_ND)

    def users(self, job, keys_N, clicks):
        vectors_ND = directions(keys_N, job.plan.seed)
        vectors_ND[:, 0] += 1
        for rows in job.rows_shown():
            mine = clicked(rows) & np.isin(rows.keys["user"], keys_N)
            items = directions(rows.keys["item"][mine], job.plan.seed)
            np.add.at(vectors_ND, np.searchsorted(keys_N, rows.keys["user"][mine]), items)
        return unit(vectors_ND)


def clicked(rows):
    return rows.labels["click"] == 1


def directions(keys_N, seed):
    """A direction for each key, [N, WIDTH]: the same key, the same direction."""
    drawn = [np.random.default_rng([seed, key]).standard_normal(WIDTH) for key in keys_N.tolist()]
    return np.array(drawn).reshape(-1, WIDTH)


def unit(vectors_ND):
    return vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


# ---- those that do not keep to their plan --------------------------------------------------------


class OneEntity(Popularity):
    """Plans two entities, and gives one."""

    def run(self, job):
        return UpstreamResult(super().run(job).vectors[:1])


class Elephant(Popularity):
    """Gives vectors of whoever it ever saw, also of those whom its rows do not show any more."""

    def run(self, job):
        result = super().run(job)
        if job.before is None:
            seen = {vectors.entity: vectors.ids for vectors in result.vectors}
        else:
            seen = {
                vectors.entity: pl.concat([remembered(job.before, vectors), vectors.ids]).unique()
                for vectors in result.vectors
            }
        for entity, ids in seen.items():
            if not (job.folder / f"{entity}.ids").exists():
                pl.DataFrame({"id": ids.sort()}).write_ipc(job.folder / f"{entity}.ids")
        return UpstreamResult(
            tuple(
                DailyVectors.of_ids(
                    vectors.space,
                    vectors.entity,
                    seen[vectors.entity],
                    directions(keys_of(seen[vectors.entity]), job.plan.seed),
                )
                for vectors in result.vectors
            )
        )


def remembered(before, vectors):
    return pl.read_ipc(before / f"{vectors.entity}.ids")["id"]


class OtherWidth(Popularity):
    """Plans one width, and gives vectors of another space that has another."""

    def run(self, job):
        found = super().run(job).vectors
        return UpstreamResult(tuple(map(narrow, found)))


def narrow(vectors):
    space = vectors.space
    narrower = Space(space.upstream, space.lineage, WIDTH - 2, space.opened)
    return replace(vectors, space=narrower, vectors_ND=vectors.vectors_ND[:, 2:])


class OtherArray(Popularity):
    """Gives vectors that are not of the space that it says."""

    def run(self, job):
        found = super().run(job).vectors
        cut = (replace(part, vectors_ND=part.vectors_ND[:, 2:]) for part in found)
        return UpstreamResult(tuple(cut))


class OtherName(Popularity):
    """Gives vectors in the name of another upstream."""

    def run(self, job):
        found = super().run(job).vectors
        named = (replace(part, space=replace(part.space, upstream="ctr")) for part in found)
        return UpstreamResult(tuple(named))
