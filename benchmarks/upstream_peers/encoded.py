"""The log as label-encoding libraries' guides prepare it, in pandas; fitted on train and test
together, as they do.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.preprocessing import LabelEncoder, StandardScaler

from benchmarks.upstream_peers.data import CATEGORICAL, NUMERIC
from benchmarks.upstream_peers.pace import Pace


def label_encoded(pace: Pace) -> tuple[pd.DataFrame, int]:
    """All rows, those of the test last, and how many are to be learnt."""
    train, test = (
        pd.concat(map(pd.read_parquet, pace.train_files()), ignore_index=True),
        pd.read_parquet(pace.data / "test.parquet"),
    )
    both = pd.concat([train, test], ignore_index=True)
    for name in CATEGORICAL:
        both[name] = LabelEncoder().fit_transform(both[name])
    both[NUMERIC] = np.log1p(both[NUMERIC])
    both[NUMERIC] = StandardScaler().fit(both[NUMERIC][: len(train)]).transform(both[NUMERIC])
    return both, len(train)
