"""Policies as a config has them: how an entity's daily vectors become what is served."""

from __future__ import annotations

import copy
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from headwater.config.base import Strict
from headwater.errors import ConfigError
from headwater.plugins import resolve


class EmaPolicy(Strict):
    """E(t) = weight E(t-1) + (1 - weight) daily(t); the first sight is kept as it is.

    With `half_life_days` instead of a weight, the past weighs 2^(-gap / half_life_days), where gap
    counts the days since the entity was last seen. While a space is younger than `warm_up_days`,
    the newest vector overwrites: a model that is still finding its space makes vectors not worth
    remembering (both are ours, not the paper's).
    """

    kind: Literal["ema"] = "ema"
    weight: float = Field(0.8, ge=0, lt=1)
    half_life_days: float | None = Field(None, gt=0)
    warm_up_days: int = Field(0, ge=0)
    renormalize: bool = False

    @model_validator(mode="after")
    def _one_memory(self) -> EmaPolicy:
        if (
            self.half_life_days is not None
            and self.weight != EmaPolicy.model_fields["weight"].default
        ):
            raise ValueError(
                "weight and half_life_days both say how fast to forget; set one of them"
            )
        return self


class LatestPolicy(Strict):
    """The newest vector overwrites; an entity not seen today keeps its own (the paper's ACC, as we
    read it).
    """

    kind: Literal["latest"] = "latest"
    renormalize: bool = False


class MeanPolicy(Strict):
    """The mean of an entity's last `k` daily vectors (the paper's AP, as we read it)."""

    kind: Literal["mean"] = "mean"
    k: int = Field(7, ge=1, le=64)
    warm_up_days: int = Field(0, ge=0)
    renormalize: bool = False


class LastPolicy(Strict):
    """An entity's last `k` daily vectors, newest first, as a sequence for the consumer."""

    kind: Literal["last"] = "last"
    k: int = Field(3, ge=1, le=64)
    warm_up_days: int = Field(0, ge=0)


BUILT_IN_POLICIES: dict[str, type[Strict]] = {
    "ema": EmaPolicy,
    "latest": LatestPolicy,
    "mean": MeanPolicy,
    "last": LastPolicy,
}


class ForeignPolicy(Strict):
    """A policy of another package: `kind` is what it offers under the entry-point group
    `headwater.policy`, or `package.module:Class`. Its class is given `settings`, which take part in
    the digests as they stand here.
    """

    kind: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)


def _kind_of(policy: Any) -> str | None:
    """Which section a policy is written in: that of its kind, or the one of all other packages."""
    kind = policy.get("kind") if isinstance(policy, dict) else getattr(policy, "kind", None)
    if not isinstance(kind, str):
        return None
    return kind if kind in BUILT_IN_POLICIES else "foreign"


PolicyConfig = Annotated[
    Annotated[EmaPolicy, Tag("ema")]
    | Annotated[LatestPolicy, Tag("latest")]
    | Annotated[MeanPolicy, Tag("mean")]
    | Annotated[LastPolicy, Tag("last")]
    | Annotated[ForeignPolicy, Tag("foreign")],
    Discriminator(
        _kind_of,
        custom_error_type="policy_kind",
        custom_error_message="Unable to extract tag using discriminator 'kind'",
    ),
]


def made_of_settings(config: ForeignPolicy) -> Any:
    """The policy of another package, made of its settings. Raises ConfigError where there is none
    of that name, or it cannot be made.
    """
    made = resolve("headwater.policy", BUILT_IN_POLICIES, config.kind)
    try:
        return made(copy.deepcopy(config.settings))
    except (TypeError, ValueError, KeyError, ConfigError) as error:
        raise ConfigError(
            f"policy {config.kind!r}: cannot be made as {made.__name__}(settings) of"
            f" {config.settings}: {error!r}."
        ) from error
