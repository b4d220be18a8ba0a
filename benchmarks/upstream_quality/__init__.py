"""What an upstream predicts by itself, beside click models of other libraries; run by `python -m
benchmarks.upstream_quality`.
"""
