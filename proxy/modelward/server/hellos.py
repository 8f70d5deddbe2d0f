"""TLS handshakes that a client's hello has begun, told apart from connections that say nothing.

A hello costs the server a signature. A load balancer's TCP check, which connects and goes, costs no more than the
accepted socket.
"""

import ssl
from typing import Any


class Hellos:
    """begun: handshakes whose hello was taken: a cipher is chosen, and a signature made or about to be. done: of these
    the ones that became a connection of HTTP/2; to be counted by their owner."""

    def __init__(self) -> None:
        self.begun = self.done = 0
        self._kind = _counted_by(self)

    @property
    def unfinished(self) -> int:
        """Under way, or failed."""
        return self.begun - self.done

    def count(self, context: ssl.SSLContext) -> None:
        """From now on those of this context."""
        context.sslobject_class = self._kind


def _counted_by(hellos: Hellos) -> type[ssl.SSLObject]:
    class Counted(ssl.SSLObject):
        _is_begun = False

        def do_handshake(self) -> Any:
            try:
                super().do_handshake()
            finally:  # it also raises where it waits for the client
                if not self._is_begun and self.cipher() is not None:
                    self._is_begun = True
                    hellos.begun += 1

    return Counted
