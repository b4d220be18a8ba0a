"""DERM as a kind of upstream: what it makes, and a day of it. torch comes when a day is run."""

from __future__ import annotations

import datetime as dt

from headwater.config import AnyUpstreamConfig, UpstreamConfig
from headwater.embeddings.daily import Training
from headwater.errors import ConfigError
from headwater.files import read_json
from headwater.models.upstream.base import (
    Declared,
    Needs,
    UpstreamJob,
    UpstreamPlan,
    UpstreamResult,
)
from headwater.models.upstream.derm.plan import DermPlan, sizes_of


class DermUpstream:
    """Learns the labels of its tasks with a tower an entity, and embeds whom the day's
    rows show.
    """

    def plan(self, name: str, settings: AnyUpstreamConfig, declared: Declared) -> UpstreamPlan:
        if not isinstance(settings, UpstreamConfig):
            raise ConfigError(f"upstreams.{name}: its settings are not those of the kind derm.")
        detail = DermPlan.of(name, settings, declared)
        return UpstreamPlan(
            name=name,
            kind=settings.kind,
            entities=detail.entities,
            width=sizes_of(settings).width,
            tasks=detail.tasks,
            signature=detail.signature,
            seed=detail.seed,
            needs=Needs(listed=tuple(str(entity) for entity in settings.content_vectors)),
            temperature=settings.temperature,
            detail=detail,
        )

    def run(self, job: UpstreamJob) -> UpstreamResult:
        from headwater.models.training import is_whole
        from headwater.models.upstream.derm.embedding import embed_day
        from headwater.models.upstream.derm.learning import fit_day
        from headwater.models.upstream.derm.work import DermDay

        work = DermDay.of(job)
        model = None if is_whole(job.folder) else fit_day(work)
        saved = read_json(job.folder / "model.json")
        space = job.plan.space(dt.date.fromisoformat(saved["first_day"]))
        ids = {entity: job.ids_of(entity) for entity in job.plan.entities}
        vectors = embed_day(work, space, ids, model)
        return UpstreamResult(tuple(vectors), Training.from_json(saved["training"]))
