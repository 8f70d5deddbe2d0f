"""The bound of a profile's file, without what reads one."""

MAX_FILE = 1 << 29  # bytes, packed and unpacked: a profile of the largest layout has a fifth of that
