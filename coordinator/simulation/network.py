"""Links between hosts and the coordinator: they take time, break, and behave worse than TCP if so wished."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.hosts import VirtualHost
from framefleet.coordinator.simulation.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How links behave until ``calm_after_s``; afterwards they only take their time.

    Without ``loss``, ``duplication`` and ``late`` (shares of messages) each direction of a link is TCP: what
    arrives does so in order, and is lost only when the connection breaks. With them anything may happen.
    """

    latency_s: float = 0.0005
    jitter_s: float = 0.0005
    loss: float = 0.0
    duplication: float = 0.0
    late: float = 0.0
    late_s: float = 40.0
    reconnect_s: float = 0.5
    calm_after_s: float = float("inf")

    @property
    def is_tcp(self) -> bool:
        return not (self.loss or self.duplication or self.late)


class Network:
    """Carries messages between ``VirtualHost`` objects and whoever is behind ``to_core``."""

    def __init__(
        self,
        timeline: Timeline,
        fate: random.Random,
        options: LinkOptions,
        *,
        to_core: Callable[[bytes, m.FromHost], None],
    ) -> None:
        self._timeline = timeline
        self._fate = fate
        self._options = options
        self._to_core = to_core
        self._hosts: dict[bytes, VirtualHost] = {}
        self._arrived: dict[tuple[bytes, bool], float] = {}
        self._connection: dict[bytes, int] = {}
        self._down: set[bytes] = set()
        self._cut_off_until: dict[bytes, float] = {}
        self._outbox: dict[bytes, list[m.FromHost]] = {}

    def join(self, host: VirtualHost) -> None:
        """A host's link is there."""
        self._hosts[host.peer] = host

    def break_link(self, host: VirtualHost) -> None:
        """The connection breaks: what is under way is lost, and it is made anew soon."""
        peer = host.peer
        self._connection[peer] = self._connection.get(peer, 0) + 1
        self._down.add(peer)
        self._timeline.after(self._options.reconnect_s, self._reconnected, peer)

    def cut_off(self, host: VirtualHost, seconds: float) -> None:
        """Nothing passes for so long, and neither side is told; TCP delivers it all afterwards."""
        self._cut_off_until[host.peer] = self._timeline.now + seconds

    def from_host(self, host: VirtualHost, message: m.FromHost) -> None:
        """A host says something; while there is no connection, it waits in the host's outbox."""
        if host.peer in self._down:
            self._outbox.setdefault(host.peer, []).append(message)
            return
        self._carry(host.peer, True, message)

    def to_host(self, peer: bytes, message: m.FromCoordinator) -> bool:
        """The coordinator sends something; False if the peer is not connected."""
        host = self._hosts.get(peer)
        if host is None or not host.alive or peer in self._down:
            return False
        self._carry(peer, False, message)
        return True

    def _reconnected(self, peer: bytes) -> None:
        self._down.discard(peer)
        for message in self._outbox.pop(peer, []):
            self._carry(peer, True, message)

    def _carry(self, peer: bytes, up: bool, message: m.Message) -> None:
        options, fate, now = self._options, self._fate, self._timeline.now
        harsh = not options.is_tcp and now < options.calm_after_s
        copies = 1
        if harsh:
            roll = fate.random()
            copies = 0 if roll < options.loss else 2 if roll < options.loss + options.duplication else 1
        for _ in range(copies):
            arrives = max(now, self._cut_off_until.get(peer, 0.0)) + options.latency_s
            if options.jitter_s:
                arrives += fate.expovariate(1 / options.jitter_s)
            if harsh and fate.random() < options.late:
                arrives += fate.random() * options.late_s
            if options.is_tcp:
                key = peer, up
                arrives = self._arrived[key] = max(arrives, self._arrived.get(key, 0.0))
            self._timeline.at(arrives, self._arrive, peer, up, message, self._connection.get(peer, 0))

    def _arrive(self, peer: bytes, up: bool, message: m.Message, connection: int) -> None:
        if connection != self._connection.get(peer, 0) and self._options.is_tcp:
            return
        if up:
            self._to_core(peer, message)  # type: ignore[arg-type]
        else:
            self._hosts[peer].hear(message)  # type: ignore[arg-type]
