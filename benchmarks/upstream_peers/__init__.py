"""One small driver per contender of `benchmarks.upstream_speed`, each run in its own process and
environment.
"""
