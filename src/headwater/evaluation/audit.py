"""Leaks, measured: what a feature knows of later rows, a history of its own row's label.

Of later rows, an honest feature knows no chance. Shape suffixes: E entities, D parts of the judged
span (its days, or parts of its one day), P columns of a design, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from sklearn.preprocessing import SplineTransformer

from headwater.evaluation.metrics import placements

# of the chance in the judged rows that a feature may seem to know; docs/leaks.md has what honest
# ones reach
SHARE = 0.3
P_VALUE = 1e-6  # of one audit, over all its features
MIN_ENTITIES = 20
_FOLDS = 10
# an entity's rate in other days is shrunk as if it had so many rows of the mean rate
_PRIOR_ROWS = 10
_RIDGE = 1e-7
# what one entity may add, so that a few odd ones do not hide a leak; of a chi-square that cuts 3 in
# 1,000
_MOST = 8
_FEWEST = 20
_LARGEST_LOG = 15  # of a count of three million


@dataclass(frozen=True)
class Tally:
    """What befell each entity: rows and positives, judged ones part by part, and on other days."""

    rows_ED: np.ndarray
    positives_ED: np.ndarray
    other_rows_E: np.ndarray
    other_positives_E: np.ndarray

    def take(self, kept_E: np.ndarray) -> Tally:
        return Tally(
            self.rows_ED[kept_E],
            self.positives_ED[kept_E],
            self.other_rows_E[kept_E],
            self.other_positives_E[kept_E],
        )


@dataclass(frozen=True)
class Foreknowledge:
    """How much of the chance in the judged rows a feature knows.

    `what` is positives or rows, `left` the dispersion that is left beside what was `usual` without
    the feature, and `z` how many standard errors that is from the 1 of an honest feature that knows
    every true rate.
    """

    what: str
    left: float
    usual: float
    z: float
    entities: int

    @property
    def share(self) -> float:
        """Of the chance: 0 for an honest feature, 1 for one that determines the outcome."""
        return min(1.0, self.usual) - self.left


def is_leak(found: Foreknowledge, tests: int) -> bool:
    """Whether a feature knows too much to be chance.

    It has a share above SHARE, and P_VALUE after Bonferroni over `tests`.
    """
    return found.share > SHARE and found.z < NormalDist().inv_cdf(P_VALUE / tests)


def foreknowledge(values_E: np.ndarray, tallies: Sequence[Tally]) -> list[Foreknowledge]:
    """What a numeric feature knows of the positives, and of the number, of each tally's rows.

    It can be told of at least MIN_ENTITIES entities with enough rows, and of three values.

    A feature made before the judged days may know each entity's true rate p, and everything of the
    other days, but no more: then any two of an entity's rows are independent. One that holds their
    sum makes them repel each other. So, with p_e the rate that the feature and the other days
    predict (a smooth linear model, fitted on other entities: ten folds), and over the pairs of rows
    i < j

        D = 1 + [sum_e sum_pairs (y_i - p_e)(y_j - p_e) / ((n_e - 1) v_e)]
                / [sum_e pairs_e / (n_e - 1)^2]

    is 1 for p_e that are true, more for any that are not, and 0 for a feature that determines each
    entity's positives; v_e = p(1 - p) at the rate predicted without the feature. Counts of rows
    likewise, against Poisson noise. D is that of Pearson's chi-square, free of its bias for few
    rows. Taken twice, over all pairs and over those of different parts, the larger counts: rows of
    one request may repel each other by themselves (one click a page), and so may days (weekend
    people), but hardly both.
    """
    found = [
        one for tally in tallies for one in (_positives(values_E, tally), _rows(values_E, tally))
    ]
    return [one for one in found if one is not None]


def _positives(values_E: np.ndarray, tally: Tally) -> Foreknowledge | None:
    n_E = tally.rows_ED.sum(axis=1)
    rate = tally.positives_ED.sum() / max(1.0, n_E.sum())
    kept = np.isfinite(values_E) & (n_E >= 2) & (n_E * min(rate, 1 - rate) >= 1)
    values_E = values_E[kept]
    tally = tally.take(kept)
    n_E = n_E[kept]
    if not _enough(values_E):
        return None
    m_E = tally.other_rows_E
    c_E = tally.other_positives_E
    k_E = tally.positives_ED.sum(axis=1)
    past_E = (c_E + _PRIOR_ROWS * rate) / (m_E + _PRIOR_ROWS)
    without_EP = np.stack([n_E, n_E * past_E, n_E * past_E**2, m_E, c_E, np.ones(len(n_E))], axis=1)
    # a mean f of all rows says k = f (n + m) - c, a sum k = f - c: each a line of this design, as
    # is any smooth scale of f
    curve_EP = _curve(values_E)
    with_EP = np.hstack([without_EP, curve_EP * n_E[:, None], curve_EP * m_E[:, None], curve_EP])
    spread_E = np.sqrt(n_E)
    usual_E = _predicted(without_EP, k_E, spread_E) / n_E
    usual_E = np.clip(usual_E, rate / 4, 1 - (1 - rate) / 4)
    known_E = np.clip(_predicted(with_EP, k_E, spread_E) / n_E, 0, 1)
    chance_E = usual_E * (1 - usual_E)
    usual, _ = _dispersion_of_positives(tally, usual_E, chance_E)
    left, z = _dispersion_of_positives(tally, known_E, chance_E)
    return Foreknowledge("positives", left, usual, z, len(n_E))


def _rows(values_E: np.ndarray, tally: Tally) -> Foreknowledge | None:
    n_E = tally.rows_ED.sum(axis=1)
    m_E = tally.other_rows_E
    ratio = n_E[m_E > 0].sum() / max(1.0, m_E.sum())
    # chosen by the other days: whom the judged ones show is what is in question
    kept = np.isfinite(values_E) & (m_E * ratio >= 1)
    values_E = values_E[kept]
    tally = tally.take(kept)
    n_E = n_E[kept]
    m_E = m_E[kept]
    if not _enough(values_E) or n_E.sum() == 0:
        return None
    without_EP = np.stack([np.ones(len(m_E)), m_E, np.sqrt(m_E)], axis=1)
    curve_EP = _curve(values_E)
    with_EP = np.hstack([without_EP, curve_EP, curve_EP * m_E[:, None]])
    spread_E = np.sqrt(m_E)
    usual_E = np.maximum(_predicted(without_EP, n_E, spread_E), ratio * m_E / 4)
    known_E = np.maximum(_predicted(with_EP, n_E, spread_E), 0)
    usual, _ = _dispersion_of_rows(tally, usual_E, usual_E)
    left, z = _dispersion_of_rows(tally, known_E, usual_E)
    return Foreknowledge("rows", left, usual, z, len(n_E))


def _enough(values_E: np.ndarray) -> bool:
    return len(values_E) >= MIN_ENTITIES and len(np.unique(values_E)) >= 3


def _curve(values_E: np.ndarray) -> np.ndarray:
    """Smooth functions of a feature, [E, P].

    They are itself, splines of its logarithm (more knots for more entities) and, where it may be a
    logarithm already, its exponential.
    """
    logs_E = np.sign(values_E) * np.log1p(np.abs(values_E))
    most_knots = int(np.clip(len(logs_E) // 25, 2, 9))
    knots = np.unique(np.quantile(logs_E, np.linspace(0, 1, most_knots)))
    parts = [values_E[:, None]]
    if np.abs(values_E).max() <= _LARGEST_LOG:
        parts.append(np.expm1(values_E[:, None]))
    if len(knots) > 1:
        splines = SplineTransformer(
            degree=3 if len(logs_E) >= 200 else 1,
            knots=knots[:, None],
            extrapolation="linear",
            include_bias=False,
        )
        parts.append(splines.fit_transform(logs_E[:, None]))
    return np.hstack(parts)


def _predicted(design_EP: np.ndarray, target_E: np.ndarray, spread_E: np.ndarray) -> np.ndarray:
    """Least squares, weighted by 1 / spread^2, each entity predicted from the other folds."""
    scaled_EP = design_EP / spread_E[:, None]
    size_P = np.maximum(np.sqrt((scaled_EP**2).mean(axis=0)), 1e-12)
    scaled_EP = scaled_EP / size_P
    # the order of hashed keys is chance
    folds = [slice(fold, None, _FOLDS) for fold in range(_FOLDS)]
    grams = np.stack([scaled_EP[fold].T @ scaled_EP[fold] for fold in folds])
    moments = np.stack([scaled_EP[fold].T @ (target_E[fold] / spread_E[fold]) for fold in folds])
    ridge = _RIDGE * len(target_E) * np.eye(scaled_EP.shape[1])
    out_E = np.empty(len(target_E))
    for fold, gram, moment in zip(folds, grams, moments, strict=True):
        out_E[fold] = scaled_EP[fold] @ np.linalg.solve(
            grams.sum(axis=0) - gram + ridge, moments.sum(axis=0) - moment
        )
    return out_E * spread_E


def _dispersion_of_positives(
    tally: Tally, rates_E: np.ndarray, chance_E: np.ndarray
) -> tuple[float, float]:
    n_E = tally.rows_ED.sum(axis=1)
    residuals_ED = tally.positives_ED - tally.rows_ED * rates_E[:, None]
    square_E = residuals_ED.sum(axis=1) ** 2
    own_E = (
        tally.positives_ED * (1 - 2 * rates_E[:, None]) + tally.rows_ED * rates_E[:, None] ** 2
    ).sum(axis=1)
    weight_E = 1 / ((n_E - 1) * chance_E)
    every = _dispersion((square_E - own_E) * weight_E, n_E / (n_E - 1))
    apart = _dispersion(
        (square_E - (residuals_ED**2).sum(axis=1)) * weight_E,
        (n_E**2 - (tally.rows_ED**2).sum(axis=1)) / (n_E - 1) ** 2,
    )
    return max(every[0], apart[0]), max(every[1], apart[1])


def _dispersion_of_rows(
    tally: Tally, expected_E: np.ndarray, chance_E: np.ndarray
) -> tuple[float, float]:
    share_D = tally.rows_ED.sum(axis=0) / tally.rows_ED.sum()
    residuals_ED = tally.rows_ED - expected_E[:, None] * share_D
    square_E = residuals_ED.sum(axis=1) ** 2
    every = _dispersion((square_E - tally.rows_ED.sum(axis=1)) / chance_E, np.ones(len(square_E)))
    apart = _dispersion(
        (square_E - (residuals_ED**2).sum(axis=1)) / chance_E,
        np.full(len(square_E), 1 - (share_D**2).sum()),
    )
    return max(every[0], apart[0]), max(every[1], apart[1])


def _dispersion(twice_pairs_E: np.ndarray, freedom_E: np.ndarray) -> tuple[float, float]:
    """D, and its z by the cube root of Wilson & Hilferty (1931).

    That holds far into the lower tail of a chi-square.
    """
    freedom = freedom_E.sum()
    if freedom <= 0:  # a span of one part has no two
        return -np.inf, -np.inf
    dispersion = 1 + np.minimum(twice_pairs_E, _MOST * freedom_E).sum() / freedom
    variance = 2 / (9 * freedom)
    return float(dispersion), float((np.cbrt(dispersion) - (1 - variance)) / np.sqrt(variance))


def auc_above(
    labels_N: np.ndarray, scores_N: np.ndarray, errors: float = 4.0
) -> tuple[float, float]:
    """How far scores tell positives from negatives, whichever way.

    Returns max(AUC, 1 - AUC), and that less some standard errors (DeLong et al. 1988); 0.5 of both
    where a class has fewer than 20 rows.
    """
    positive_N = labels_N == 1
    if min(positive_N.sum(), (~positive_N).sum()) < _FEWEST:
        return 0.5, 0.5
    shares_N = placements(labels_N, scores_N)
    auc = float(shares_N[positive_N].mean())
    classes = (shares_N[positive_N], shares_N[~positive_N])
    error = np.sqrt(sum(shares.var(ddof=1) / len(shares) for shares in classes))
    return max(auc, 1 - auc), max(auc, 1 - auc) - errors * float(error)
