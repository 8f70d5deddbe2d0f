"""Races, soaks and floods against the real server, on loopback; `make bench-NAME` runs one."""
