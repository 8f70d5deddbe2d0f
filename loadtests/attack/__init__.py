"""What a stranger may try, tried: one file per family of attacks, each bounded in count and time, loopback only.

`python -m loadtests.attack list` names them, `python -m loadtests.attack NAME --target 127.0.0.1:8001 [--tls]` runs one
against a server, `python -m loadtests.attack all` (`make bench-attack`) runs every one against servers of its own, with
a bystander beside it, and tells what memory, the bystander and the attacker's connections made of it.
"""
