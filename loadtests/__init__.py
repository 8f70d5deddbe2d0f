"""Races, soaks and floods against the real server, on loopback; `make bench` runs `python -m loadtests.bench`."""
