"""Virtual time: what is to happen, in order."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Timeline:
    """A clock in seconds that jumps from one planned call to the next.

    Calls planned for the same moment happen in the order in which they were planned.
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self._planned: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call; one in the past happens next."""
        self._count += 1
        heapq.heappush(self._planned, (max(when, self.now), self._count, call, arguments))

    def after(self, delay_s: float, call: Callable[..., None], *arguments: Any) -> None:
        """Plan a call in so many seconds."""
        self.at(self.now + delay_s, call, *arguments)

    @property
    def next_at(self) -> float | None:
        """When the next call is planned; None if nothing is."""
        return self._planned[0][0] if self._planned else None

    def step(self) -> bool:
        """Go to the next planned call and make it; False when nothing is planned."""
        if not self._planned:
            return False
        self.now, _, call, arguments = heapq.heappop(self._planned)
        call(*arguments)
        return True

    def advance(self, seconds: float) -> None:
        """Let time pass, and all that is planned for it happen."""
        until = self.now + seconds
        while self._planned and self._planned[0][0] <= until:
            self.step()
        self.now = until
