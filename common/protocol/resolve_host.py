"""Names of hosts to addresses, in Python and with retries; IPv4 and IPv6 alike.

libzmq would resolve in its I/O thread, and stall every socket while a name server is slow.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
from collections.abc import Callable
from typing import Final

from framefleet.common.errors import UserError
from framefleet.common.log import LOG

RESOLVE_FIRST_S, RESOLVE_MAX_S = 0.1, 5.0  # waits between tries; AWS's toolkits try for up to 15 min
TRY_S: Final = 2.0  # for a connection to one of several addresses
TELL_EVERY_S: Final = 30.0
_NAME: Final = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_.-]*[0-9A-Za-z_.])?")
_ENDPOINT: Final = re.compile(r"tcp://(\[[^\]]+\]|[^\[\]:]+):([0-9]{1,5})")


def check_address(address: str) -> str:
    """A host's name or address as it is given, an IPv6 address without its brackets.

    Raises:
        ValueError: it is neither, or has a port; the text says which.
    """
    bare = address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(bare)
        return bare
    if bare is address and _NAME.fullmatch(address):
        return address
    if ":" in address:
        raise ValueError("give a name or an address alone, without a port or a scheme")
    raise ValueError("it is neither a host's name nor an address")


def tcp_endpoint(address: str, port: int) -> str:
    """An endpoint as libzmq has it; an IPv6 address goes into brackets."""
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def resolve(
    endpoint: str,
    *,
    budget_s: float,
    should_stop: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """``tcp://name:port`` with the name's address in its place, retried while the name is not known yet.

    Where a name has several addresses, as one of each kind, it is the first that takes a connection: not all
    of them need lead anywhere.

    Raises:
        UserError: the name did not resolve within ``budget_s`` seconds, or ``should_stop`` said so.
    """
    parts = _ENDPOINT.fullmatch(endpoint)
    if parts is None or not 0 < int(parts[2]) < 65536:
        raise UserError(f"the coordinator's endpoint {endpoint!r} is not of the form tcp://host:port")
    name, port = parts[1].strip("[]"), int(parts[2])
    began, wait_s, tell_at = clock(), RESOLVE_FIRST_S, 1.0
    while True:
        try:
            found = socket.getaddrinfo(name, port, socket.AF_UNSPEC, socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
            if len(addresses) == 1:
                return tcp_endpoint(addresses[0], port)
            for address in addresses:
                if _answers(address, port):
                    return tcp_endpoint(address, port)
            why = f"nobody answers at {', '.join(addresses)}, port {port}"
        except OSError as error:
            why = f"it does not resolve to an address: {error}"
        waited_s = clock() - began
        if waited_s + wait_s > budget_s or should_stop():
            raise UserError(f"the primary host {name!r} was not found within {budget_s:.0f} s: {why}")
        if waited_s >= tell_at:
            tell_at = waited_s + TELL_EVERY_S
            LOG.info("waiting for the primary host %r: %s", name, why)
        sleep(wait_s)
        wait_s = min(2 * wait_s, RESOLVE_MAX_S)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=TRY_S):
            return True
    except OSError:
        return False
