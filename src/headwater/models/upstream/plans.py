"""The plans of a factory's upstreams, from its config and schema alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.config import FactoryConfig
from headwater.digests import digest_of
from headwater.models.upstream.base import Declared, UpstreamPlan
from headwater.models.upstream.kinds import kind_of
from headwater.schema import Schema


def plans_of(config: FactoryConfig, schema: Schema) -> dict[str, UpstreamPlan]:
    """What every upstream makes. Raises ConfigError."""
    return {name: plan_of(config, schema, name) for name in config.upstreams}


def plan_of(config: FactoryConfig, schema: Schema, name: str) -> UpstreamPlan:
    """What the upstream `name` makes. Raises ConfigError."""
    spec = config.upstreams[name]
    seed = config.seed if spec.seed is None else spec.seed
    declared = Declared(schema, seed, _meaning(config, schema, name))
    return kind_of(spec.kind).plan(name, spec, declared)


def _meaning(config: FactoryConfig, schema: Schema, upstream: str) -> str:
    """Of what an upstream's inputs and labels are, as declared, in order; where the data lies is no
    part of it.
    """
    raw = config.model_dump(mode="json")
    logs, entities = schema.upstream_logs[upstream], schema.upstream_entities[upstream]
    histories = [history for history in raw["histories"].values() if history["log"] in logs]
    for history in histories:
        history.pop("seed")
        if not history["known_after"]:  # as before there was such a setting
            history.pop("known_after")
    return digest_of(
        raw["time_zone"],
        [list(raw["entities"][entity]["features"].items()) for entity in entities],
        [list(raw["logs"][log]["features"].items()) for log in logs],
        histories,
        [raw["tasks"][task] for task in config.upstreams[upstream].tasks],
    )


def widths_of(plans: Mapping[str, UpstreamPlan]) -> dict[str, int]:
    """The width of every embedding, by name."""
    return {
        plan.embedding(entity): plan.width for plan in plans.values() for entity in plan.entities
    }
