"""Backtests: the factory as it would have been under another policy, with other rankers, or with
other upstreams.
"""
