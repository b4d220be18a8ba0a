"""How a factory runs from day to day.

Averages, gates, the store, what is judged, where training is logged, lanes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from headwater.config.base import RUNNING, Strict
from headwater.config.policies import EmaPolicy, ForeignPolicy, PolicyConfig, made_of_settings
from headwater.errors import ConfigError


class AlignConfig(Strict):
    """When a new space may stand in for the old one, after a rotation.

    It is measured on entities that the rotation was not fitted on.
    """

    min_cosine: float = Field(
        0.6, ge=-1, le=1, description="mean cosine of a rotated vector with the old one"
    )
    max_residual: float = Field(0.8, gt=0, description="||X R - Y||^2 / ||Y||^2")
    min_shared: int = Field(100, ge=2, description="entities that both spaces must know")


class LifecycleConfig(Strict):
    policy: PolicyConfig = EmaPolicy()
    lag_days: int = Field(1, ge=1)
    expire_days: int = Field(90, ge=1)
    promote: Literal["auto", "manual"] = Field(
        "auto",
        json_schema_extra=RUNNING,
        description="whether a finished day goes live by itself, or by `headwater promote`",
    )
    keep_days: int = Field(
        90,
        json_schema_extra=RUNNING,
        ge=2,
        description=(
            "the point-in-time window: editions and daily snapshots of that many days are kept"
        ),
    )
    align: AlignConfig = Field(AlignConfig(), json_schema_extra=RUNNING)

    @field_validator("policy")
    @classmethod
    def _there(cls, policy: PolicyConfig) -> PolicyConfig:
        """A policy of another package is made once, before a day is trained in vain."""
        if isinstance(policy, ForeignPolicy):
            try:
                made_of_settings(policy)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return policy


class GateConfig(Strict):
    """Thresholds that an edition must pass before it is published.

    "Usual" is the median of the last editions (up to seven).
    """

    settle_days: int = Field(
        3,
        ge=0,
        description=(
            "age of a space, in days, from which its drift is refused and not only written down"
        ),
    )
    min_coverage_share: float = Field(
        0.6,
        ge=0,
        description="share of today's log rows whose entity had a vector, over the usual one",
    )
    min_rows_share: float = Field(
        0.5, ge=0, description="entities of the edition, over the usual number"
    )
    min_fresh_share: float = Field(
        0.3, ge=0, description="entities seen today, over the usual number"
    )
    max_norm: float = Field(10.0, gt=0, description="length of the longest vector")
    min_norm: float = Field(1e-3, ge=0, description="median length of a vector")
    max_duplicate_share: float = Field(
        0.5, ge=0, le=1, description="share of entities whose vector is another's too"
    )
    min_effective_rank: float = Field(
        2.0, ge=1, description="directions in use: exp(entropy) of the singular values' shares"
    )
    min_effective_rank_share: float = Field(
        0.6, ge=0, description="directions in use, over the last edition's"
    )
    min_cosine_continuing: float = Field(
        0.2,
        ge=-1,
        le=1,
        description=(
            "median, of today's vector with the last edition's: entities seen the last day too"
        ),
    )
    min_cosine_returning: float = Field(
        0.1, ge=-1, le=1, description="the same: entities last seen earlier"
    )
    max_centre_gap_new: float = Field(
        0.6,
        ge=0,
        le=2,
        description=(
            "median cosine with the last edition's centre: new entities against continuing ones"
        ),
    )
    max_domain_auc: float = Field(
        0.98,
        ge=0.5,
        le=1,
        description=(
            "of a classifier that tells today's vectors from the last edition's; 0.5 cannot"
        ),
    )
    neighbours: int = Field(10, ge=1, description="how many nearest neighbours are compared")
    min_neighbour_overlap: float = Field(
        0.2, ge=0, le=1, description="share of an entity's nearest neighbours that are kept"
    )
    max_probe_drop: float = Field(
        0.05,
        ge=0,
        le=1,
        description=(
            "how far a click model's ROC-AUC on the vectors may fall, beyond two standard errors"
        ),
    )


def kind_alone(value: Any) -> Any:
    """A section of a seam that is only a name."""
    return {"kind": value} if isinstance(value, str) else value


class OnlineConfig(Strict):
    """The store for look-ups: `lmdb`, `none` (look-ups read the edition itself), or another
    package's, which is made with its `settings` by name. A name alone stands for a kind without
    settings.
    """

    kind: str = "lmdb"
    settings: dict[str, Any] = Field(default_factory=dict)


class EngineConfig(Strict):
    """Where work runs: `local` (the `workers` of the factory), or another package's engine, which
    is made with the number of workers and its `settings` by name.
    """

    kind: str = "local"
    settings: dict[str, Any] = Field(default_factory=dict)


class StoreConfig(Strict):
    """How vectors are stored and served.

    `encoding` is that of the serving copies, made after averaging; averages stay float32.
    """

    online: Annotated[OnlineConfig, BeforeValidator(kind_alone)] = OnlineConfig()
    encoding: Literal["float32", "float16", "int8"] = "float32"
    bucket_rows: int = Field(32_768, ge=1, description="rows merged at a time: what bounds memory")
    compact_after: int = Field(
        8, ge=1, le=200, description="deltas that an edition may be spread over"
    )


class IndexConfig(Strict):
    kind: str = "hnsw"


AUTO_GROUP = "auto"
USER_TIME = "user_time"
USER_DAY = "user_day"
_GROUP = (
    "rows that compete with one another: user_time (of one user at one time), user_day (of one user"
    " on one day), a column of the log (such as a request's id), or auto: user_time where rows"
    " share it, else user_day; for several logs a mapping from log to one of these"
)


def _named_groups(value: Any) -> Any:
    """One fault of a group that is neither a name nor names by log, not one a kind."""
    if isinstance(value, str) or (
        isinstance(value, Mapping) and all(isinstance(name, str) for name in value.values())
    ):
        return value
    raise ValueError(
        "should be auto, user_time, user_day or a column, or a mapping from log to one of these"
    )


class EvaluationConfig(Strict):
    """Which days the tables pool, within what rows compete, and how intervals are made.

    What the leak audit would refuse passes where it is `trusted`: a feature (`item.price`), a
    history (`histories.user`, `histories.user.seed`) or the log of one (`logs.feed`).
    """

    start: dt.date | None = Field(
        None, description="the first judged day that tables pool (default: the first there is)"
    )
    end: dt.date | None = Field(None, description="the last one (default: the last there is)")
    group: Annotated[str | dict[str, str], BeforeValidator(_named_groups)] = Field(
        AUTO_GROUP, description=_GROUP
    )
    confidence: float = Field(0.95, gt=0.5, lt=1)
    users_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of the users that rankers are judged on; they learn from all",
    )
    margin_pct: float = Field(
        0.1, gt=0, description="of ROC-AUC: a loss below it is none (T4, how narrow vectors may be)"
    )
    trusted: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> EvaluationConfig:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class TrackingConfig(Strict):
    """Where training is logged.

    `kind` is `tensorboard` (event files in `uri`, a folder), `mlflow` (a tracking server), or
    another package's.
    """

    kind: str
    uri: str | None = Field(
        None, description="of TensorBoard, default: `tracking/` in the warehouse; MLflow needs one"
    )

    @model_validator(mode="after")
    def _server(self) -> TrackingConfig:
        if self.kind == "mlflow" and self.uri is None:
            raise ValueError(
                "mlflow needs the uri of its tracking server, such as http://127.0.0.1:5000"
            )
        return self


class LaneConfig(Strict):
    """A retraining that runs beside the live lane until it is promoted.

    `upstreams` is what is other there (such as `seed`). `closed` lanes are not run any more. The
    lane `main` is the factory as it is declared; only `closed` may be set of it.
    """

    upstreams: dict[str, dict[str, Any]] = Field(default_factory=dict)
    closed: bool = False
