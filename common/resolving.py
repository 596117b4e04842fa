"""Names of hosts to addresses, in Python and with retries.

libzmq would resolve in its I/O thread, and stall every socket while a name server is slow.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from common.errors import UserError

RESOLVE_FIRST_S, RESOLVE_MAX_S = 0.1, 5.0  # waits between tries; AWS's toolkits try for up to 15 min


def resolve(
    endpoint: str,
    *,
    budget_s: float,
    should_stop: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """``tcp://name:port`` with the name's address in its place, retried while the name is not known yet.

    Raises:
        UserError: the name did not resolve within ``budget_s`` seconds, or ``should_stop`` said so.
    """
    parts = urlsplit(endpoint)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None:
        raise UserError(f"the coordinator's endpoint {endpoint!r} is not of the form tcp://host:port")
    deadline, wait_s = clock() + budget_s, RESOLVE_FIRST_S
    while True:
        try:
            found = socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET, socket.SOCK_STREAM)
            return f"tcp://{found[0][4][0]}:{parts.port}"
        except OSError as error:
            if clock() + wait_s > deadline or should_stop():
                raise UserError(
                    f"the primary host {parts.hostname!r} did not resolve to an address within "
                    f"{budget_s:.0f} s ({error})"
                ) from error
        sleep(wait_s)
        wait_s = min(2 * wait_s, RESOLVE_MAX_S)
