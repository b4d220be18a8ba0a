"""`factory.yaml`: what a factory is made of.

Strict, frozen, and every fault is reported at once with its path.
"""

from headwater.config.base import shaping
from headwater.config.data import (
    Categorical,
    EntityConfig,
    Feature,
    HistoryConfig,
    HistorySeed,
    JoinedLabel,
    LogConfig,
    MultiCategorical,
    Numeric,
    TaskConfig,
    Timestamp,
    Vector,
)
from headwater.config.factory import (
    FactoryConfig,
    load_config,
    parse_config,
    parse_policy,
    warehouse_of,
)
from headwater.config.models import (
    AnyUpstreamConfig,
    DhenConfig,
    DownstreamConfig,
    OtherUpstreamConfig,
    PriorConfig,
    ProjectionConfig,
    RetrievalConfig,
    SequenceConfig,
    UpstreamConfig,
)
from headwater.config.policies import (
    EmaPolicy,
    ForeignPolicy,
    LastPolicy,
    LatestPolicy,
    MeanPolicy,
    PolicyConfig,
    made_of_settings,
)
from headwater.config.references import label_columns
from headwater.config.running import (
    AlignConfig,
    EngineConfig,
    EvaluationConfig,
    GateConfig,
    LifecycleConfig,
    OnlineConfig,
    StoreConfig,
    TrackingConfig,
)
from headwater.config.variants import SHUFFLED, embedding_names, read_by, upstream_entities

__all__ = [
    "SHUFFLED",
    "AlignConfig",
    "AnyUpstreamConfig",
    "Categorical",
    "DhenConfig",
    "DownstreamConfig",
    "EmaPolicy",
    "EngineConfig",
    "EntityConfig",
    "EvaluationConfig",
    "FactoryConfig",
    "Feature",
    "ForeignPolicy",
    "GateConfig",
    "HistoryConfig",
    "HistorySeed",
    "JoinedLabel",
    "LastPolicy",
    "LatestPolicy",
    "LifecycleConfig",
    "LogConfig",
    "MeanPolicy",
    "MultiCategorical",
    "Numeric",
    "OnlineConfig",
    "OtherUpstreamConfig",
    "PolicyConfig",
    "PriorConfig",
    "ProjectionConfig",
    "RetrievalConfig",
    "SequenceConfig",
    "StoreConfig",
    "TaskConfig",
    "Timestamp",
    "TrackingConfig",
    "UpstreamConfig",
    "Vector",
    "embedding_names",
    "label_columns",
    "load_config",
    "made_of_settings",
    "parse_config",
    "parse_policy",
    "read_by",
    "shaping",
    "upstream_entities",
    "warehouse_of",
]
