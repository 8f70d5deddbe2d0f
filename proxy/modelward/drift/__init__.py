"""Drift: what has changed since a version began to be watched, with a stated rate of false alarms.

`table` makes rows of numbers of what was observed, `signals` says what of them is watched, `ranks` and `bets` turn them
into payments, `evidence` adds these up, `watch` does all that for one side of a version, `monitor` for all versions.
`report` tells what has changed, `whose` whose change it is.
"""
