"""How much work ranges of videos are, in pixels and in seconds, and where a piece of a given size ends."""

from __future__ import annotations

import math

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SchedulingOptions
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.rates import Rates
from framefleet.coordinator.state import Unit, Video


class Workload:
    """Estimates for units and videos, by the job's options and the rates learned so far."""

    def __init__(self, videos: list[Video], selection: Selection, options: SchedulingOptions) -> None:
        self.rates = Rates()
        self._videos = videos
        self._selection = selection
        self.options = options

    def sampling_of(self, video: Video) -> Sampling:
        """What is wanted of a video; not kept here, as there may be a million of them."""
        sampling = self._selection.of(video.listed.name)
        assert sampling is not None  # else it would not be in the list
        return sampling

    def is_one_unit(self, video: Video) -> bool:
        """Whether a video cannot be cut at all."""
        return self.options.cut == "never" or video.info is None or not video.info.seekable

    def measure(self, video: Video) -> None:
        """A video's probe is known: from now on its ranges can be estimated."""
        info, sampling = video.info, self.sampling_of(video)
        assert info is not None
        video.end_s = info.duration_s or info.size_bytes / policy.DEFAULT_BYTES_PER_VIDEO_S
        video.start, video.stop = sampling.range_of(info.time_base)
        video.next_start = video.start
        video.px_per_s = policy.work_per_second(info, sampling)
        if sampling.times is not None:
            video.px_per_time = policy.work_per_time(info, len(sampling.times))
        piece_s = math.inf if self.is_one_unit(video) else policy.piece_s(info)
        video.piece_px = piece_s * video.px_per_s if sampling.times is None else 0.0

    def range_px(self, video: Video, start: int, stop: int | None) -> float:
        """Estimated work, in pixels, at positions ``[start, stop)``."""
        info, sampling = video.info, self.sampling_of(video)
        assert info is not None
        if sampling.times is not None:
            return ((len(sampling.times) if stop is None else stop) - start) * video.px_per_time
        start_s = sampling.seconds_of(start, info.time_base)
        stop_s = video.end_s if stop is None else min(video.end_s, sampling.seconds_of(stop, info.time_base))
        return max(0.0, stop_s - start_s) * video.px_per_s

    def lead_px(self, video: Video, start: int) -> float:
        """Work of the roll-in of a unit that begins at ``start``."""
        info, sampling = video.info, self.sampling_of(video)
        assert info is not None
        if not video.px_per_s or sampling.keyframes_only:
            return 0.0
        seconds = policy.roll_in_s(info, sampling.seconds_of(start, info.time_base))
        return seconds * video.px_per_s * policy.decoding_share(info, sampling)

    def done_px(self, unit: Unit) -> float:
        """Estimated work, in pixels, of what a running unit has done so far."""
        if unit.done_to <= unit.start:
            return 0.0
        return unit.lead_px + self.range_px(self._videos[unit.video], unit.start, unit.done_to)

    def estimate_s(self, unit: Unit) -> float:
        """Estimated seconds of a unit on a slot of ordinary speed."""
        if unit.is_probe:
            return 0.0
        return (unit.lead_px + unit.work_px) / self.rates.of(self._videos[unit.video])

    def reached(self, unit: Unit) -> None:
        """A running unit has told how far it is; that may be behind the end that its container claims."""
        video = self._videos[unit.video]
        assert video.info is not None
        seen_s = self.sampling_of(video).seconds_of(unit.done_to, video.info.time_base)
        if unit.stop is None and seen_s > video.info.duration_s > 0:
            video.end_s = max(video.end_s, policy.believed_end_s(video.info, seen_s))

    # ---- where pieces end ---------------------------------------------------------------------------

    def cut(self, video: Video, size_s: float) -> int | None:
        """Where the next unit of a video ends, to take about ``size_s`` seconds; None: at its end."""
        # where a video is one unit, its host stops as soon as it has as many frames as are wanted
        end = video.stop if self.is_one_unit(video) else earlier(video.stop, video.horizon)
        sampling = self.sampling_of(video)
        span_s = self.options.unit_span_s or self._span_s(video, sampling, size_s * self.rates.of(video))
        stop = self._cut_position(video, start=video.next_start, span_s=span_s, end=end)
        return end if stop is None else stop

    def cut_of(self, unit: Unit, size_s: float) -> int | None:
        """Where a waiting unit is to be cut that is far more than ``size_s`` seconds; None: nowhere."""
        video = self._videos[unit.video]
        assert video.info is not None
        size_px = size_s * self.rates.of(video)
        if self.options.unit_span_s is not None or unit.work_px <= 1.5 * size_px:
            return None
        sampling, end_s = self.sampling_of(video), video.info.duration_s
        start_s = sampling.seconds_of(unit.start, video.info.time_base)
        if unit.stop is not None:
            end_s = sampling.seconds_of(unit.stop, video.info.time_base)
        span_s = (end_s - start_s) * size_px / unit.work_px
        return self._cut_position(video, start=unit.start, span_s=span_s, end=unit.stop)

    def _cut_position(self, video: Video, *, start: int, span_s: float, end: int | None) -> int | None:
        assert video.info is not None
        return policy.cut_position(
            video.info, self.sampling_of(video), start=start, span_s=span_s, rule=self.options.cut, end=end
        )

    @staticmethod
    def _span_s(video: Video, sampling: Sampling, work_px: float) -> float:
        """Seconds of video, from where it is cut next, that hold so much work."""
        if sampling.times is None:
            return work_px / video.px_per_s
        first = video.next_start
        last = min(len(sampling.times) - 1, first + max(1, round(work_px / video.px_per_time)))
        return float(sampling.times[last] - sampling.times[first])


def earlier(stop: int | None, other: int | None) -> int | None:
    """The first of two ends, None being none."""
    return other if stop is None else stop if other is None else min(stop, other)
