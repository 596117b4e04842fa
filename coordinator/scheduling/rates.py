"""How fast work is done: pixels per second of each codec and resolution class, then of each video.

Rates are those of a host of speed 1; what a host did is divided by its speed before it counts.
"""

from __future__ import annotations

from framefleet.common.protocol.messages import Done
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.state import Unit, Video, ewma


class Rates:
    """Learns rates from finished units, and from the progress of long ones."""

    def __init__(self) -> None:
        self._by_class: dict[policy.RateClass, float] = {}
        self._remaining_px: dict[policy.RateClass, float] = {}

    def of(self, video: Video) -> float:
        """Pixels per second that one slot of ordinary speed does on this video, as far as is known."""
        assert video.info is not None
        return video.rate or self._by_class.get(policy.rate_class(video.info), policy.DEFAULT_RATE)

    def add_remaining(self, video: Video, work_px: float) -> None:
        """So much of a video is left to be handed out; less, if negative."""
        assert video.info is not None
        key = policy.rate_class(video.info)
        video.remaining_px += work_px
        self._remaining_px[key] = max(0.0, self._remaining_px.get(key, 0.0) + work_px)

    def remaining_s(self) -> float:
        """Estimated seconds of all that is known and not handed out."""
        return sum(
            px / self._by_class.get(key, policy.DEFAULT_RATE) for key, px in self._remaining_px.items()
        )

    def learn(self, video: Video, unit: Unit, done: Done, speed: float) -> float | None:
        """Correct the rates by a unit finished on a host of this ``speed``.

        Returns: the host's speed by this unit (1.0: as predicted), None if too short to tell.
        """
        if done.seconds < policy.MIN_OBSERVED_S or done.decoded == 0:
            return None
        assert video.info is not None
        # in the units of the estimates, whatever their error; but the end may have come long before the
        # range's, and then only the frames tell how much it was
        px = unit.lead_px + unit.work_px
        if done.saw_end or px <= 0:
            px = policy.observed_px(video.info, decoded=done.decoded, written=done.frames)
        return self._observe(video, px / done.seconds, speed)

    def learn_early(self, video: Video, done_px: float, busy_s: float, speed: float) -> float | None:
        """The same by the progress of a unit, of a video of which none is finished yet."""
        if video.rate is not None or busy_s < policy.PRIOR_S or done_px <= 0:
            return None
        return self._observe(video, done_px / busy_s, speed)

    def _observe(self, video: Video, px_per_s: float, speed: float) -> float:
        assert video.info is not None
        ratio = px_per_s / self.of(video)
        key = policy.rate_class(video.info)
        self._by_class[key] = ewma(self._by_class.get(key), px_per_s / speed)
        video.rate = ewma(video.rate, px_per_s / speed)
        return ratio
