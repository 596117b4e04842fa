"""Made-up videos: what they truly hold and cost, what a probe says of them, and what a unit gives.

A video is so many frames at a constant distance with a keyframe every so many; only what scheduling and
numbering can tell apart is modelled. ``common/job/sampling.py`` has the rules that ``shown`` and ``pick``
follow for such a video.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from framefleet.common.job.sampling import Sampling
from framefleet.common.media import MAX_HINTS, VideoInfo
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.coordinator.scheduling.policy import ENCODE_WEIGHT

TICKS = 1000  # a second
# as worker/video/decode_session.py: it looks at its bound after every GOP, in a long one after this
LOOK_FRAMES = 32
LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Picked:
    """Frames that a unit writes, under the sample numbers ``first``, ``first + 1``, ..."""

    first: int
    frames: Sequence[int]

    def pairs(self) -> list[tuple[int, int]]:
        """(sample, frame) of each."""
        return [(self.first + place, frame) for place, frame in enumerate(self.frames)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """One made-up video.

    Attributes:
        frames: how many it has; ``fps`` a second, a divisor of 1000; a keyframe every ``gop``.
        rate: pixels per second that a slot of speed 1 truly does on it.
        claimed_s, claimed_fps: duration and frame rate, as its container has them.
        poison: first frames of GOPs at which every decoder crashes.
        is_video: a probe finds that it is none, if not.
    """

    index: int
    frames: int
    fps: int = 25
    gop: int = 50
    width: int = 1920
    height: int = 1080
    codec: str = "h264"
    rate: float = 150e6
    claimed_s: float = 0.0
    claimed_fps: float = 25.0
    seekable: bool = True
    poison: tuple[int, ...] = ()
    is_video: bool = True

    @property
    def name(self) -> str:
        return str(self.index)

    @property
    def step(self) -> int:
        """Ticks from one frame to the next."""
        return TICKS // self.fps

    @property
    def size_bytes(self) -> int:
        """A file of constant quality: a tenth of a bit per pixel."""
        return max(1, self.frames * self.width * self.height // 80)

    def listed(self) -> ListedVideo:
        """The entry of the catalogue."""
        name = self.name
        return ListedVideo.of(
            index=self.index, path=name.encode(), name=name, folder=name, size_bytes=self.size_bytes
        )

    def info(self) -> VideoInfo:
        """What a probe finds."""
        # what lies behind the claimed end is in no index
        end = min(self.frames, max(1, round(self.claimed_s * self.fps))) if self.claimed_s else self.frames
        keyframes = range(0, end * self.step, self.gop * self.step)
        thinning = -(-len(keyframes) // MAX_HINTS)
        return VideoInfo(
            container="mp4",
            codec=self.codec,
            width=self.width,
            height=self.height,
            time_base_num=1,
            time_base_den=TICKS,
            first_pts=0,
            duration_s=self.claimed_s,
            frame_rate=self.claimed_fps,
            keyframes=list(keyframes[:: max(1, thinning)]),
            seekable=self.seekable,
            size_bytes=self.size_bytes,
            checksum=self.name,
        )

    # ---- which frames -------------------------------------------------------------------------------

    def _ratio(self, sampling: Sampling) -> int:
        """Frames for one sample of a rate."""
        assert sampling.rate is not None
        per_second, seconds = sampling.rate.as_integer_ratio()
        ratio, rest = divmod(self.fps * seconds, per_second)
        assert not rest, "made-up videos are for rates that divide theirs"
        return ratio

    def shown(self, sampling: Sampling, start: int, stop: int | None) -> Sequence[int]:
        """The frames that are taken for positions ``[start, stop)``, ascending.

        Under a rate they begin with the one on screen at the first target: those just before it, which are
        displayed at no target, have that position too.
        """
        if sampling.times is not None:
            shown = [int(time * self.fps) for time in sampling.times[start:stop]]
            return [frame for frame in shown if frame < self.frames]
        if sampling.rate is not None:
            ratio = self._ratio(sampling)
            return range(start * ratio, self.frames if stop is None else min(self.frames, stop * ratio))
        every = self.gop if sampling.keyframes_only else 1
        ticks = self.step * every
        end = self.frames if stop is None else min(self.frames, -(-stop // ticks) * every)
        return range(-(-start // ticks) * every, end, every)

    def pick(self, sampling: Sampling, shown: Sequence[int], start: int, rank: int) -> Picked:
        """Those of the first frames of a unit that it writes."""
        if sampling.times is not None:
            return Picked(start, shown)
        if sampling.rate is not None:
            if not shown:
                return Picked(start, range(0))
            ratio = self._ratio(sampling)
            return Picked(start, range(-(-shown[0] // ratio) * ratio, shown[-1] + 1, ratio))
        return Picked(0, shown[-rank % sampling.every :: sampling.every])

    def position(self, sampling: Sampling, frame: int) -> int:
        """The position of a frame."""
        if sampling.times is not None:
            return bisect_left(sampling.times, Fraction(frame, self.fps))
        if sampling.rate is not None:
            return -(-frame // self._ratio(sampling))
        return frame * self.step

    def done_to(self, sampling: Sampling, frame: int) -> int:
        """Below this position all is decided once this frame was taken."""
        return self.position(sampling, frame) + sampling.numbered_by_order

    def reaches_end(self, sampling: Sampling, stop: int | None) -> bool:
        """Whether no frame tells a unit that its range is over."""
        last = self.frames - 1
        if sampling.keyframes_only:
            last -= last % self.gop
        return stop is None or stop > self.done_to(sampling, last)

    # ---- what it costs, in seconds of a slot of speed 1 ---------------------------------------------

    def decode_s(self) -> float:
        """Decoding one frame."""
        return self.width * self.height / self.rate

    def roll_in(self, sampling: Sampling, shown: Sequence[int]) -> int:
        """Frames that are decoded before the first of these, from the keyframe on."""
        if not shown or sampling.keyframes_only or sampling.times is not None:
            return 0
        return shown[0] - self.keyframe_of(shown[0])

    def frame_s(self, sampling: Sampling) -> float:
        """Work for each shown frame: decoding, and its share of what is encoded."""
        decoded, written = 1.0, 1 / sampling.every
        if sampling.times is not None:
            decoded = self.gop / 2 + 1  # each is sought
        elif sampling.rate is not None:
            written = 1 / self._ratio(sampling)
        return (decoded + ENCODE_WEIGHT * written) * self.decode_s()

    def work_s(self, sampling: Sampling) -> float:
        """The whole video, cut nowhere; probing and opening are not in it."""
        if not self.is_video:
            return 0.0
        start, stop = sampling.range_of(Fraction(1, TICKS))
        return len(self.shown(sampling, start, stop)) * self.frame_s(sampling)

    # ---- GOPs ---------------------------------------------------------------------------------------

    def keyframe_of(self, frame: int) -> int:
        """The keyframe that a frame's decoding begins with."""
        return frame - frame % self.gop

    @property
    def look_frames(self) -> int:
        """Frames between two looks within a GOP, on a slot of speed 1."""
        return max(1, min(LOOK_FRAMES, int(LOOK_S / self.decode_s())))

    def look_before(self, frame: int) -> int:
        """The last frame up to this one before which a slot looks at its bound."""
        key = self.keyframe_of(frame)
        return key + (frame - key) // self.look_frames * self.look_frames

    def look_after(self, frame: int) -> int:
        """The same for the first one behind it."""
        key = self.keyframe_of(frame)
        return min(key + self.gop, self.look_before(frame) + self.look_frames)
