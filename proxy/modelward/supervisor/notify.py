"""What the service manager is told of this process: sd_notify(3). Without one, nothing is said."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger("modelward.supervisor")

# A manager whose queue is full is waited for so long: one that never hears READY kills the service.
WAIT_SECONDS = 1.0


class Notifier:
    """Takes its variables out of `environ`, so that no child speaks for this process."""

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        address, watchdog, pid = (environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        self._address = f"\0{address[1:]}" if address.startswith("@") else address  # of the abstract namespace
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(WAIT_SECONDS)
        elif address:
            log.warning(
                "the service manager gets no notifications: NOTIFY_SOCKET is neither a path nor an abstract address"
            )
        ours = watchdog.isdecimal() and pid in ("", str(os.getpid()))
        self._watchdog_seconds = int(watchdog) / 1e6 if ours else 0.0

    def ready(self, status: str) -> None:
        """Also the end of a reload."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """READY ends it. CLOCK_MONOTONIC tells the manager that this is no older reload."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for people."""
        self._tell(f"STATUS={text}")

    async def beat(self) -> None:
        """For as long as the running loop goes round, a sign of life twice as often as the watchdog wants one."""
        while self._watchdog_seconds and self._socket is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_seconds / 2)

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        message = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError as error:  # a manager that restarts: what is said next may reach it
            log.warning("the service manager did not hear %s: %s", lines[0], error.strerror or error)
