"""LightGBM on the same columns, ids as categories; see contender.py. Histories reach it as the
counting and pair features.
"""

from __future__ import annotations

import lightgbm
import numpy as np

from benchmarks.upstream_quality.contender import Job, columns_of


def main() -> None:
    job = Job.of_arguments()
    sparse_NC, day, labels = job.load("sparse_NC"), job.load("day_N"), job.load("label_N")
    first = columns_of(sparse_NC).index("user_id") if job.setting["user_id"] else 1
    x = np.hstack([sparse_NC[:, first:], job.load("tags_NK"), job.load("numbers_NF")]).astype(
        np.float64
    )
    categories = list(range(sparse_NC.shape[1] - first + 4))
    learn, score = day <= job.until, day == job.predict

    def fit_and_score(seed: int) -> np.ndarray:
        settings = {
            name: value for name, value in job.setting.items() if name not in ("user_id", "rounds")
        }
        fixed = {
            "objective": "binary",
            "num_threads": 1,
            "seed": seed,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "feature_fraction": 0.5,
            "verbose": -1,
        }
        data = lightgbm.Dataset(
            x[learn], labels[learn], categorical_feature=categories, free_raw_data=False
        )
        return np.asarray(
            lightgbm.train(fixed | settings, data, job.setting["rounds"]).predict(
                x[score], num_threads=1
            )
        )

    job.run(fit_and_score)


if __name__ == "__main__":
    main()
