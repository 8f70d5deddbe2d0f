"""Races, soaks and floods against the real server, on loopback; `python -m loadtests.bench` is what `make bench` runs."""
