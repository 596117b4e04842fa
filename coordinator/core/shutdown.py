"""How a job ends: what was the outcome, who must still hear of it, and how long that may take."""

from __future__ import annotations

from collections.abc import Callable, Set

from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.common.status import Outcome
from framefleet.coordinator.events import Action, Conclude, Quit, Record, Send

STOP_WAIT_S = 3.0  # a local Ctrl-C is over within 5 s, everything included


class Shutdown:
    """The last phase, from the decision to end until the process may quit.

    A completed or failed job is concluded (all on disk) before ``End`` is sent. A job that is told to
    stop sends ``End`` first, as hosts still publish what is committed, and is concluded when they have left.
    """

    def __init__(self, options: SchedulingOptions, *, emit: Callable[[Action], None]) -> None:
        self._options = options
        self._emit = emit
        self._reason: str | None = None
        self._deadline: float | None = None
        self._over = False
        self.outcome: Outcome | None = None
        self.stopping = False

    @property
    def begun(self) -> bool:
        """Whether nothing may be handed out any more."""
        return self._deadline is not None

    @property
    def message(self) -> m.End:
        return m.End(failed=self._reason)

    def stop(self, reason: str, peers: Set[bytes], now: float) -> None:
        """Somebody wants the job to end now; one that is over already waits for nobody any more."""
        self.stopping = True
        if self._deadline is not None:
            self._deadline = min(self._deadline, now + STOP_WAIT_S)
            return
        self._begin(reason, peers, now + STOP_WAIT_S)

    def complete(self, nothing: str, peers: Set[bytes], now: float) -> None:
        """All work is done; ``nothing`` says why not one frame came of it, which is no success."""
        self.conclude("failed" if nothing else "completed", nothing, peers, now)

    def conclude(self, outcome: Outcome, reason: str, peers: Set[bytes], now: float) -> None:
        """The job is over: its account goes to disk, then every host hears of it."""
        if self.begun:
            return
        self._conclude(outcome, reason)
        self._begin(reason, peers, now + self._options.bye_wait_s)

    def check(self, hosts_remain: bool, now: float, *, absent: bool) -> None:
        """Stop when no host remains or the deadline passed; ``absent``: a host that is not there may still
        come and ask."""
        if self._deadline is None or self._over or (hosts_remain and now < self._deadline):
            return
        # it must hear of the end too, or its exit code will fail the whole job
        if absent and not self.stopping:
            return
        if self.outcome is None:
            self._conclude("interrupted", self._reason or "")
        self._over = True
        self._emit(Quit())

    def _begin(self, reason: str, peers: Set[bytes], deadline: float) -> None:
        self._reason = reason or None
        self._deadline = deadline
        for peer in peers:
            self._emit(Send(peer=peer, message=self.message))

    def _conclude(self, outcome: Outcome, reason: str) -> None:
        self.outcome = outcome
        self._emit(Record(entry={"event": "end", "outcome": outcome, "reason": reason}))
        self._emit(Conclude(outcome=outcome, reason=reason))
