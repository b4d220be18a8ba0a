"""What a logistic regression can tell by vectors: two editions apart, or clicks from the rest.

Shape suffixes: N rows, D width of a vector.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headwater.embeddings.gates.figures import unit
from headwater.embeddings.snapshot import Snapshot, same_space

SPLITS = 3  # of the probe, to halve the noise of one


def domain_auc(before: Snapshot, now: Snapshot, seed: int) -> float:
    """ROC-AUC of a logistic regression that tells `now` from `before`; 0.5: it cannot.

    Two folds of entities: with both vectors of an entity on one side, it cannot learn who is in
    which. Not symmetrised: below 0.5 is chance. It sees a shift of the mean, not of the scale (that
    is the norms' gate). Raises SpaceMismatch. After the classifier two-sample test of Lopez-Paz &
    Oquab 2017.
    """
    same_space(before, now)
    entities, entity_N = np.unique(np.concatenate([before.keys_N, now.keys_N]), return_inverse=True)
    fold_N = (np.random.default_rng(seed).permutation(len(entities)) % 2)[entity_N]
    labels_N = np.repeat([0.0, 1.0], [len(before), len(now)])
    return _cross_fitted_auc(np.concatenate([before.vectors_ND, now.vectors_ND]), labels_N, fold_N)


def probe_auc(labels_N: np.ndarray, user_ND: np.ndarray, item_ND: np.ndarray, seed: int) -> float:
    """ROC-AUC of a logistic regression on the products (u * v) of unit user and item vectors.

    Two folds, each judged by the other's model, over a few splits. The new edition has learnt these
    very rows and the last one has not: a smoke alarm that only a broken edition trips, not evidence
    of quality (that is what judging on the next day's rows is for). What is not finite counts as
    zero.
    """
    with np.errstate(invalid="ignore"):
        product_ND = np.nan_to_num(unit(user_ND) * unit(item_ND), nan=0.0, posinf=0.0, neginf=0.0)
    rng = np.random.default_rng(seed)
    aucs = []
    for _ in range(SPLITS):
        order = rng.permutation(len(labels_N))
        order = order[np.argsort(labels_N[order], kind="stable")]
        fold_N = np.empty(len(labels_N), np.int64)
        fold_N[order] = np.arange(len(labels_N)) % 2  # each label halved
        aucs.append(_cross_fitted_auc(product_ND, labels_N, fold_N))
    return float(np.mean(aucs))


def auc_error(positive: int, negative: int) -> float:
    """Standard error of the ROC-AUC of a score that tells nothing.

    It is the most that chance in so few rows may do (Hanley & McNeil 1982).
    """
    return float(np.sqrt((1 / positive + 1 / negative) / 12))


def _cross_fitted_auc(features_ND: np.ndarray, labels_N: np.ndarray, fold_N: np.ndarray) -> float:
    """Mean of the two folds' ROC-AUC under the other's model.

    A fold in which a class is missing counts 0.5.
    """
    features_ND = features_ND.astype(np.float64)
    aucs = []
    for learn in (fold_N == 1, fold_N == 0):
        if min(len(np.unique(labels_N[learn])), len(np.unique(labels_N[~learn]))) < 2:
            aucs.append(0.5)
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        model.fit(features_ND[learn], labels_N[learn])
        scores = model.decision_function(features_ND[~learn])
        aucs.append(float(roc_auc_score(labels_N[~learn], scores)))
    return float(np.mean(aucs))
