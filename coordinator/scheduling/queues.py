"""What waits besides new cuts: files that nobody has looked at, and units that came back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from framefleet.common.protocol.messages import MAX_PROBE_BATCH
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.state import Video, ewma

PROBE_BATCH_CAP = MAX_PROBE_BATCH // 4
PROBES_PER_SLOT = 4  # batches a slot can expect, so that the last ones share out evenly


class Unprobed:
    """Files that nobody has looked at, the largest first."""

    def __init__(self, videos: Sequence[Video]) -> None:
        todo = (video.listed for video in videos if not video.all_cut)
        largest_first = sorted(todo, key=lambda listed: (-listed.size_bytes, listed.index))
        # the list's own numbers: there may be a million, and they would be objects of their own
        self._files = deque(listed.index for listed in largest_first)
        self._videos = videos
        self._bytes = sum(listed.size_bytes for listed in largest_first)
        self._bytes_per_work_s = policy.DEFAULT_BYTES_PER_WORK_S
        self._is_measured = False

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[int]:
        return iter(self._files)

    def remaining_s(self) -> float:
        """Estimated seconds of work in them, by what the probed ones have for their size."""
        return self._bytes / self._bytes_per_work_s

    def measured(self, size_bytes: int, work_s: float) -> None:
        """A file of this size was found to hold so much work."""
        known = self._bytes_per_work_s if self._is_measured else None
        self._bytes_per_work_s = ewma(known, max(1.0, size_bytes) / work_s)
        self._is_measured = True

    def batch_size(self, slots: float, room: int) -> int:
        """How many files the next probe is for; ``room`` bounds it, but for the first."""
        share = len(self._files) / (PROBES_PER_SLOT * max(slots, 1.0))
        return min(len(self._files), max(1, min(PROBE_BATCH_CAP, round(share), room)))

    def take(self, count: int) -> tuple[int, ...]:
        """The next ``count`` files."""
        files = tuple(self._files.popleft() for _ in range(count))
        self._bytes -= sum(self._videos[index].listed.size_bytes for index in files)
        return files


class Requeue:
    """Numbers of units that came back, the last one first, and how much work they are."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        """Estimated seconds of each when it came, the last one last, and (below) of all: there may be
        thousands."""
        self.remaining_s = 0.0

    def __len__(self) -> int:
        return len(self._seconds)

    def __iter__(self) -> Iterator[int]:
        return reversed(self._seconds)

    def put(self, number: int, estimate_s: float) -> None:
        """A unit waits, before all others."""
        self._seconds[number] = estimate_s
        self.remaining_s += estimate_s

    def remove(self, number: int) -> None:
        """A unit waits no longer.

        Raises:
            KeyError: it does not wait.
        """
        if next(self.__iter__(), None) == number:
            _, estimate_s = self._seconds.popitem()  # leaves no gap for ``__iter__`` to pass over
        else:
            estimate_s = self._seconds.pop(number)
        self.remaining_s -= estimate_s
        if not self._seconds:
            self.remaining_s = 0.0  # and no rounding errors
