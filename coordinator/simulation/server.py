"""The loop around the core, as ``coordinator/server.py`` runs it, on virtual time that work takes up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from framefleet.common.protocol import messages as m
from framefleet.common.status import Outcome
from framefleet.coordinator.core.core import TICK_S, Core
from framefleet.coordinator.core.invariants import Watch
from framefleet.coordinator.events import (
    Action,
    Conclude,
    Event,
    Garbled,
    Quit,
    Received,
    Record,
    Send,
    Stop,
    Tick,
    Unreachable,
)
from framefleet.coordinator.simulation.timeline import Timeline
from framefleet.coordinator.simulation.transcript import SCHEDULE, Step

MESSAGES_PER_WAKE = 256  # as common/protocol/transport.py


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCosts:
    """What the coordinator's one core is busy with, in seconds: reading and handling a message, a wake of
    its loop, choosing a unit, and sending a message.

    The defaults are above what ``benchmarks`` and the profile of this simulator show for the real core.
    """

    message_s: float = 40e-6
    wake_s: float = 50e-6
    unit_s: float = 100e-6
    send_s: float = 20e-6


FREE = ServerCosts(message_s=0.0, wake_s=0.0, unit_s=0.0, send_s=0.0)


class VirtualServer:
    """Drives a core. ``send`` carries a message to a peer, and says False if that is not connected."""

    def __init__(
        self,
        core: Core,
        timeline: Timeline,
        costs: ServerCosts,
        *,
        send: Callable[[bytes, m.FromCoordinator], bool],
        checks: bool = False,
    ) -> None:
        self.core = core
        self.records: list[dict[str, object]] = []
        self.steps: list[Step] = []
        self.outcome: Outcome | None = None
        self.reason = ""
        self.over = False
        self.busy_s = 0.0
        self.messages = 0
        self.assigned = 0
        self.shrinks = 0
        self._timeline = timeline
        self._costs = costs
        self._send = send
        self._inbox: deque[Event] = deque()
        self._free_at = 0.0
        self._wake_planned = False
        self._watch = Watch(core) if checks else None
        timeline.after(TICK_S, self._tick)

    def receive(self, peer: bytes, message: m.FromHost) -> None:
        """A message has arrived at the coordinator's socket."""
        self.post(Received(peer=peer, message=message))

    def post(self, event: Event) -> None:
        """Something is to be handled at the next wake."""
        self._inbox.append(event)
        self._plan_wake()

    def garble(self, peer: bytes) -> None:
        self.post(Garbled(peer=peer, reason="made up"))

    def stop(self, reason: str) -> None:
        self.post(Stop(reason=reason))

    def _tick(self) -> None:
        if not self.over:
            self.post(Tick())
            self._timeline.after(TICK_S, self._tick)

    def _plan_wake(self) -> None:
        if not self._wake_planned:
            self._wake_planned = True
            self._timeline.at(self._free_at, self._wake)

    def _wake(self) -> None:
        self._wake_planned = False
        if self.over:
            return
        costs, now = self._costs, self._timeline.now
        actions: list[Action] = []
        count = min(MESSAGES_PER_WAKE, len(self._inbox))
        for _ in range(count):
            actions += self._tell(self._inbox.popleft())
        actions += self._tell(SCHEDULE)
        self.messages += count
        sends = assigns = 0
        for action in actions:
            if isinstance(action, Send):
                sends += 1
                assigns += isinstance(action.message, m.Assign)
                self.shrinks += isinstance(action.message, m.Shrink)
        self.assigned += assigns
        took_s = costs.wake_s + count * costs.message_s + assigns * costs.unit_s + sends * costs.send_s
        self.busy_s += took_s
        self._free_at = now + took_s
        if took_s:
            self._timeline.at(self._free_at, self._execute, actions)
        else:
            self._execute(actions)
        if self._inbox:
            self._plan_wake()

    def _tell(self, what: Event | str) -> list[Action]:
        now = self._timeline.now
        if self._watch is None:
            return self.core.schedule(now) if isinstance(what, str) else self.core.handle(what, now)
        self.steps.append((now, what))
        actions = self.core.schedule(now) if isinstance(what, str) else self.core.handle(what, now)
        self._watch.look()
        return actions

    def _execute(self, actions: list[Action]) -> None:
        todo = deque(actions)
        while todo:
            match todo.popleft():
                case Send(peer=peer, message=message):
                    if not self._send(peer, message):
                        todo.extend(self._tell(Unreachable(peer=peer)))
                case Record(entry=entry):
                    if entry["event"] != "leased":
                        self.records.append(entry)
                case Conclude(outcome=outcome, reason=reason):
                    self.outcome, self.reason = outcome, reason
                case Quit():
                    self.over = True
