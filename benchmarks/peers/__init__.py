"""The same work done with other libraries, each in an environment of its own, so that the project
depends on none of them.

peers_env.sh, feast_env.sh   make those environments (.venv-peers, .venv-feast) data.py
yesterday's table and today's fresh rows, for the daily merge merging.py                   the daily
merge: the contract, the plain copies of its bytes, the check against NumPy merge_duckdb.py,
merge_polars.py, merge_delta.py, merge_headwater.py; parquet.py, which they share measure.py
one merge in one process: seconds and peak memory feast_data.py                daily editions and
training rows, for the point-in-time look-up feast_join.py                that look-up by Feast:
seconds, peak memory and the vectors it found
"""
