"""A graph under a filter against exact search under the same filter: recall and milliseconds a
query, for filters of several sizes.

    python -m benchmarks.filters [--items 100000] [--width 64]

`random` filters keep items anywhere; `clusters` keep whole clusters, as a category does. Headwater
searches exactly under a filter.
"""

from __future__ import annotations

import argparse
import datetime as dt
import time

import faiss
import numpy as np

from headwater.embeddings import Space
from headwater.index import ExactIndex, unit

QUERIES, K, CLUSTERS = 100, 50, 200


def graph_of(vectors_ND: np.ndarray) -> faiss.IndexHNSWFlat:
    graph = faiss.IndexHNSWFlat(vectors_ND.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 80, 128
    graph.add(vectors_ND)
    return graph


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CLUSTERS, options.width))
    cluster_N = generator.integers(0, CLUSTERS, options.items)
    vectors = unit(
        centres[cluster_N] + 0.7 * generator.standard_normal((options.items, options.width))
    )
    queries = unit(
        centres[generator.integers(0, CLUSTERS, QUERIES)]
        + 0.7 * generator.standard_normal((QUERIES, options.width))
    )
    graph = graph_of(vectors)
    space = Space("ctr", "bench", options.width, dt.date(2025, 1, 1))
    index = ExactIndex.build(space, vectors)
    faiss.omp_set_num_threads(1)
    for kind in ("random", "clusters"):
        for share in (0.5, 0.2, 0.1, 0.02, 0.005):
            kept = generator.random(options.items) < share
            if kind == "clusters":
                kept = np.isin(
                    cluster_N,
                    generator.choice(CLUSTERS, max(1, int(CLUSTERS * share)), replace=False),
                )
            among = np.flatnonzero(kept)
            start = time.perf_counter()
            exact = np.concatenate(
                [index.search(query[None], K, space, among)[0] for query in queries]
            )
            exact_ms = 1000 * (time.perf_counter() - start) / QUERIES
            chosen = faiss.SearchParametersHNSW(
                sel=faiss.IDSelectorBitmap(np.packbits(kept, bitorder="little")), efSearch=128
            )
            start = time.perf_counter()
            found = np.concatenate(
                [graph.search(query[None], K, params=chosen)[1] for query in queries]
            )
            graph_ms = 1000 * (time.perf_counter() - start) / QUERIES
            recall = np.mean(
                [len(np.intersect1d(a, b)) / K for a, b in zip(found, exact, strict=True)]
            )
            short = np.mean((found < 0).any(axis=1))
            print(
                f"{kind:8} keeps {share:5.1%}   graph: recall@{K} {recall:.3f}, short answers"
                f" {short:4.0%}, {graph_ms:6.2f} ms   exact: {exact_ms:6.2f} ms"
            )


if __name__ == "__main__":
    main()
