"""A coordinator that is not heard: how long to bear it, where else the end may be read, and what to say."""

from __future__ import annotations

import time
from typing import Final

from framefleet.common.errors import UserError
from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.log import LOG
from framefleet.common.protocol import messages as m
from framefleet.worker.job_outcome import Account

MAX_STEP_S: Final = 5.0  # for a step of the loop: a host that was stopped has not listened meanwhile
END_LOOK_S: Final = 5.0
TELL_EVERY_S: Final = 30.0


class Silence:
    """How long the coordinator has not been heard.

    ``account``: where the end can be read, for a host that the coordinator cannot tell.
    """

    def __init__(self, options: SchedulingOptions, account: Account | None) -> None:
        self._options = options
        self._account = account
        self._lasted_s = 0.0
        self._step_at = time.monotonic()
        self._looked_at = float("-inf")
        self._tell_at_s = TELL_EVERY_S

    def end(self) -> None:
        """The coordinator was heard, or nobody has been asked anything."""
        self._lasted_s, self._tell_at_s = 0.0, TELL_EVERY_S
        self._step_at = time.monotonic()

    def step(self, now: float) -> None:
        """The loop has come round, and has heard nothing."""
        self._lasted_s += min(now - self._step_at, MAX_STEP_S)
        self._step_at = now

    def bear(self, now: float, *, was_welcome: bool) -> m.End | None:
        """Look whether the job has ended; at last take the coordinator for dead.

        Raises:
            UserError: it has been silent for too long.
        """
        options = self._options
        look = self._lasted_s > 2 * options.heartbeat_s and now - self._looked_at > END_LOOK_S
        if self._account is not None and look:
            self._looked_at, end = now, self._account.end()
            if self._account.has_moved() and was_welcome:
                self._lasted_s = 0.0  # it is alive, and this host may find it again
            if end is not None:
                how = end.failed or "completed"
                LOG.info("the coordinator is gone; by its account the job is over (%s)", how)
                return end
        if self._lasted_s >= self._tell_at_s:
            self._tell_at_s = self._lasted_s + TELL_EVERY_S
            LOG.info("the coordinator has not been heard for %.0f s: waiting", self._lasted_s)
        if not was_welcome and self._lasted_s > options.host_wait_s:
            raise UserError(
                f"the coordinator did not answer within {options.host_wait_s:.0f} s: "
                "see the log of the primary host"
            )
        if was_welcome and self._lasted_s > options.silence_s:
            raise UserError(
                f"the coordinator has been silent for {self._lasted_s:.0f} s and is taken for dead"
            )
        return None
