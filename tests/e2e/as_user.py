"""Calls over a Unix socket as other users of the machine: a process of root's, which a test asks line by line.

SO_PEERCRED tells the user that a thread was when it connected. So this one connects as that user, and is root again.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from tests.e2e.h2client import H2Client, framed


def connected(path: str, uid: int) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(60)
    os.setgroups([])
    os.setresgid(uid, uid, 0)
    os.setresuid(uid, uid, 0)
    try:
        made.connect(path)
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
    return made


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        answers = []
        with H2Client("", connected=connected(asked["socket"], asked["uid"])) as client:
            for path, request in asked["calls"]:
                reply = client.call(framed(bytes.fromhex(request)), path)
                data = b"".join(each for _, each in reply.messages) if not reply.code else reply.message.encode()
                answers.append((reply.code, data.hex()))
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
