"""The texts of a Feast repository: its feature_store.yaml, and the parts of its features.py."""

from __future__ import annotations

from string import Template

STORE = Template("""\
# Written by `headwater export feast`.
project: $project
provider: local
registry: data/registry.db
offline_store: {type: file}
online_store: {type: sqlite, path: data/online_store.db}
entity_key_serialization_version: 3
""")

HEADER = '''\
"""Written by `headwater export feast`: what Headwater published, as Feast feature views.

`feast apply` registers them. Each embedding NAME has a view NAME with its vector (null: nothing was
served) and the day on which its entity was last seen (null: never yet, the vector is of its
content), and a view NAME_freshness: the days from then to the `request_time` of a row or request.
"""

from datetime import timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float32, Float64, Int64, String, UnixTimestamp

DATA = Path(__file__).resolve().parent / "data"
NO_END = timedelta(0)  # a row says when an entity expires; see its null vector

request = RequestSource(name="request", schema=[Field(name="request_time", dtype=UnixTimestamp)])

'''

ENTITY = Template("""
$entity = Entity(name="$entity", join_keys=["$key"], value_type=ValueType.$kind)
""")

VIEW = Template('''

$name = FeatureView(
    name="$name",
    entities=[$entity],
    ttl=NO_END,
    schema=[
        Field(name="$key", dtype=$dtype),
        Field(name="$name", dtype=Array(Float32)),
        Field(name="${name}_last_seen", dtype=UnixTimestamp),
    ],
    source=FileSource(
        name="${name}_editions",
        path=str(DATA / "$name.parquet"),
        timestamp_field="event_timestamp",
    ),
    tags=$tags,
)


@on_demand_feature_view(
    sources=[$name, request], schema=[Field(name="${name}_age_days", dtype=Float64)]
)
def ${name}_freshness(inputs: pd.DataFrame) -> pd.DataFrame:
    """Whole days, by midnights of the factory's time zone."""
    import pandas as pd  # Feast keeps this function alone, without what stands around it

    def midnight(name: str) -> pd.Series:
        moments = pd.to_datetime(inputs[name], utc=True)
        return moments.dt.tz_convert("$zone").dt.tz_localize(None).dt.normalize()

    age = midnight("request_time") - midnight("${name}_last_seen")
    return pd.DataFrame({"${name}_age_days": age.dt.days.astype("float64")})
''')
