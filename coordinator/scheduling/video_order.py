"""Which video is cut next.

Theory of operation. The longest remaining video comes first, so that no long one is left to the end, and a
host goes on in the file that it has open. But before a slot is given a piece smaller than the smallest that
some video can be cut into (one GOP; all of it, if it cannot be entered in the middle), that video comes
first: begun last, its pieces would outlast all others (Graham's longest processing time first).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.rates import Rates
from framefleet.coordinator.state import Video

LEAST_LIMIT = 1000  # entries of a heap, before those that are of no use any more are looked for
UNKNOWN_FACTOR = 3.0  # a video of which no unit was done may cost so much more than others of its class

Key = Callable[[Video], float]


class Order:
    """The videos that can be cut, by length and by the size of their smallest pieces."""

    def __init__(self, videos: Sequence[Video], rates: Rates) -> None:
        self._videos = videos
        self._rates = rates
        self._longest: list[tuple[float, int]] = []
        self._limits: dict[int, int] = {}
        # those without a rate of their own by class: what is learned changes the rates of all of it at once
        self._coarsest: dict[policy.RateClass, list[tuple[float, int]]] = {}
        self._coarsest_known: list[tuple[float, int]] = []

    def __bool__(self) -> bool:
        return bool(self._longest)

    def add(self, index: int) -> None:
        """A video can be cut from now on, or again."""
        video = self._videos[index]
        assert video.info is not None
        self._push(self._longest, -video.remaining_px, index)
        if video.rate is None:
            coarsest = self._coarsest.setdefault(policy.rate_class(video.info), [])
            self._push(coarsest, -_piece_px(video), index)
        else:
            self._push(self._coarsest_known, -self._piece_s(index), index)

    def _push(self, heap: list[tuple[float, int]], key: float, index: int) -> None:
        """What is cut whole leaves a heap only when it comes up; so all such leave it when it has doubled."""
        if len(heap) >= self._limits.get(id(heap), LEAST_LIMIT):
            heap[:] = [entry for entry in heap if self._videos[entry[1]].can_cut]
            heapq.heapify(heap)
            self._limits[id(heap)] = max(LEAST_LIMIT, 2 * len(heap))
        heapq.heappush(heap, (key, index))

    def choose(self, last: int | None, size_s: float) -> int | None:
        """The video from which a piece of about ``size_s`` seconds is to be cut; None if there is none.

        ``last`` is the video that the host has open.
        """
        coarse = self._peek_coarsest(size_s)
        goes_on = last is not None and self._videos[last].can_cut
        if coarse is not None:
            return last if goes_on and last is not None and self._piece_s(last) > size_s else coarse
        return last if goes_on else self._peek(self._longest, lambda video: video.remaining_px)

    def choose_fine(self, last: int | None, limit_s: float) -> int | None:
        """A video of whose pieces none lasts longer than ``limit_s`` seconds, for a slow host."""
        longest = self._peek(self._longest, lambda video: video.remaining_px)
        for index in (last, longest):
            if index is not None and self._videos[index].can_cut and self._piece_s(index) <= limit_s:
                return index
        return None

    def _peek_coarsest(self, size_s: float) -> int | None:
        best: tuple[float, int] | None = None
        unknown = [self._peek_unknown(heap) for heap in self._coarsest.values()]
        known = self._peek(self._coarsest_known, lambda video: _piece_px(video) / self._rates.of(video))
        for index in [*unknown, known]:
            if index is not None:
                piece_s = self._piece_s(index)
                if piece_s > size_s and (best is None or piece_s > best[0]):
                    best = piece_s, index
        return None if best is None else best[1]

    def _peek_unknown(self, heap: list[tuple[float, int]]) -> int | None:
        """The same among those of a class; those whose own rate is known by now move to where they belong."""
        while (index := self._peek(heap, _piece_px)) is not None and self._videos[index].rate is not None:
            heapq.heappop(heap)
            self._push(self._coarsest_known, -self._piece_s(index), index)
        return index

    def _piece_s(self, index: int) -> float:
        video = self._videos[index]
        doubt = 1.0 if video.rate is not None else UNKNOWN_FACTOR
        return doubt * _piece_px(video) / self._rates.of(video)

    def _peek(self, heap: list[tuple[float, int]], key: Key) -> int | None:
        """The video with the largest key; keys only shrink, and are put right when they come up."""
        while heap:
            negative, index = heap[0]
            video = self._videos[index]
            if not video.can_cut:
                heapq.heappop(heap)
            elif key(video) < -negative:
                heapq.heapreplace(heap, (-key(video), index))
            else:
                return index
        return None


def _piece_px(video: Video) -> float:
    # the last piece may be longer than its container claims
    return min(video.piece_px, video.remaining_px + policy.CLAIM_MARGIN_S * video.px_per_s)
