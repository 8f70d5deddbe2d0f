"""Capture: requests of a sample as Parquet files, and training sets made of them.

`rows`, `suspicion` and `columns` turn observations into tables, `writer` and `files` bring these to disk, `export` and
what lies beside it make a training set in which no identity has much influence.
"""
