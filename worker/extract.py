"""A range of a video into image files: exact, whatever the range, and whatever was asked before.

It knows files and frames, but no messages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from common.media import FrameRow, UnitResult
from common.sampling import Pick, Sampling, Selector
from common.spec import ImageOptions
from worker import images
from worker.decode import Gop, Session, Shown, open_session
from worker.media import OpenVideo

# A file is said to be cut short when it lacks more than this of what its container claims: the audio
# of a whole file may well last a little longer than the pictures.
MISSING_S: Final = 0.5
MISSING_SHARE: Final = 0.05

# (every sample below this position is staged, frames so far) -> where to stop now
Checkpoint = Callable[[int, int], int | None]


def extract(
    video: OpenVideo,
    first_pts: int,
    sampling: Sampling,
    start: int,
    stop: int | None,
    *,
    image: ImageOptions,
    folder: Path,
    checkpoint: Checkpoint,
    duration_s: float = 0.0,
) -> UnitResult:
    """Write the frames wanted at positions ``[start, stop)`` into ``folder``, one file each.

    ``first_pts`` and ``duration_s`` (0: unknown) are what the probe found; ``stop`` None means to the
    end. ``folder`` is private to this call. ``checkpoint`` is asked after every GOP, or piece of a very
    long one; its answer may lower the stop: not below the position it was told, and not raise it.
    ``video`` stays open, and usable for any other range.

    Raises:
        MediaError: the file has vanished, or holds frames that cannot become images.
        OSError: ``folder`` cannot be written to.
        Whatever ``checkpoint`` raises.
    """
    work = _Extraction(video, first_pts, sampling, start, stop, image, folder)
    work.run(checkpoint)
    return work.result(duration_s)


@dataclass(frozen=True, slots=True)
class _Written:
    """A frame on disk. Its row's status is open: damage may show later than the frames that it hits."""

    gop: Gop
    place: int
    row: FrameRow


@dataclass(frozen=True, slots=True)
class _Taken:
    """A displayed frame that may be written, or its picture already (BGR, and the angle)."""

    shown: Shown | None
    gop: Gop
    place: int
    keyframe: bool
    pix_fmt: str
    interlaced: bool
    duration_ticks: int
    picture: tuple[images.Image, int] | None

    def displayed(self) -> tuple[images.Image, int]:
        if self.picture is not None:
            return self.picture
        assert self.shown is not None
        return images.to_bgr(self.shown.frame)


@dataclass(frozen=True, slots=True)
class _Mark:
    """The state just before the first frame from a keyframe on was taken."""

    key_pts: int
    held: Pick[_Taken] | None
    written: int


class _Extraction:
    def __init__(
        self,
        video: OpenVideo,
        first_pts: int,
        sampling: Sampling,
        start: int,
        stop: int | None,
        image: ImageOptions,
        folder: Path,
    ) -> None:
        self._video = video
        self._first_pts = first_pts
        self._sampling = sampling
        self._start = start
        self._image = image
        self._folder = folder
        self._time_base = video.time_base
        self._range_tick = first_pts + sampling.last_tick(start, self._time_base)
        self._before_range = (
            first_pts + sampling.last_tick(start - 1, self._time_base) if start else first_pts - 1
        )
        self._selector: Selector[_Taken] = Selector(
            sampling, self._time_base, first_pts=first_pts, start=start, stop=stop
        )
        self._written: list[_Written] = []
        self._mark: _Mark | None = None
        self._settled: set[int] = set()
        self._floor: int | None = None
        self._errors: set[tuple[int | None, int]] = set()
        self._decoded = 0
        self._roll_in = 0
        self._end_pts: int | None = None
        self._saw_end = False

    def run(self, checkpoint: Checkpoint) -> None:
        tick: int | None = self._range_tick if self._start > 0 else None
        while True:
            session = open_session(self._video, tick, fresh=self._floor is not None)
            again = self._take(session, checkpoint)
            self._errors |= session.errors
            self._decoded += session.decoded
            if again is None:
                return
            self._settled.add(again)
            self._floor = tick = again

    def result(self, duration_s: float) -> UnitResult:
        return UnitResult(
            rows=[_final_row(written) for written in self._written],
            decoded=self._decoded,
            roll_in=self._roll_in,
            errors=len(self._errors),
            saw_end=self._saw_end,
            notes=self._notes(duration_s),
        )

    def _take(self, session: Session, checkpoint: Checkpoint) -> int | None:
        """Take a session's frames; gives the keyframe from which to decode again, None when all is done."""
        selector = self._selector
        chunks = session.chunks
        for shown in session:
            if (again := self._doubtful(session, shown.pts)) is not None:
                return again
            if self._floor is None or shown.pts >= self._floor:
                self._take_frame(shown)
            if session.chunks != chunks:
                chunks = session.chunks
                self._ask(checkpoint)
            if selector.finished:
                break
        if selector.finished:
            session.drain()
        held = selector.held
        if held is not None and (again := self._doubtful(session, held.pts)) is not None:
            return again
        if not selector.finished:
            self._saw_end = True
            self._take_end()
        return None

    def _take_frame(self, shown: Shown) -> None:
        key_pts = shown.gop.key_pts
        if (
            key_pts is not None
            and shown.pts >= key_pts
            and (self._mark is None or key_pts > self._mark.key_pts)
        ):
            self._mark = _Mark(key_pts, self._selector.held, len(self._written))
        if shown.pts <= self._before_range:
            self._roll_in += 1
        self._keep(self._selector.feed(self._taken(shown), shown.pts))

    def _taken(self, shown: Shown) -> _Taken:
        frame, gop = shown.frame, shown.gop
        # A frame held is a buffer that the decoder cannot recycle, and damaged pictures may show what
        # recycled buffers hold: where that counts, nothing is held.
        at_once = self._floor is not None and (
            gop.key_pts == self._floor or gop.needs_own_session or gop.is_leading(shown.pts)
        )
        wanted = shown.pts > self._before_range
        return _Taken(
            shown=None if at_once else shown,
            gop=gop,
            place=shown.place,
            keyframe=frame.key_frame,
            pix_fmt=frame.format.name,
            interlaced=frame.interlaced_frame,
            duration_ticks=frame.duration or 0,
            picture=images.to_bgr(frame) if at_once and wanted else None,
        )

    def _take_end(self) -> None:
        held = self._selector.held
        if held is not None:
            duration_ticks = held.item.duration_ticks
            self._end_pts = held.pts + duration_ticks
            self._keep(self._selector.end(duration_ticks))

    def _ask(self, checkpoint: Checkpoint) -> None:
        selector = self._selector
        stop = checkpoint(selector.done_to, len(self._written))
        if stop is not None and (selector.stop is None or stop < selector.stop):
            selector.stop = max(stop, selector.done_to)

    def _doubtful(self, session: Session, pts: int) -> int | None:
        """The first keyframe up to ``pts`` whose GOP must be decoded again; what it gave is taken back."""
        if not self._video.can_seek:
            return None
        passed_pts = self._mark.key_pts if self._mark is not None else None
        for gop in session.gops:
            key_pts = gop.key_pts
            if key_pts is None or key_pts > pts or (passed_pts is not None and key_pts < passed_pts):
                continue
            if gop.needs_own_session and key_pts not in self._settled:
                self._take_back(key_pts)
                return key_pts
        return None

    def _take_back(self, key_pts: int) -> None:
        mark = self._mark
        if mark is None or mark.key_pts != key_pts:
            return  # nothing of this GOP was taken yet
        for written in self._written[mark.written :]:
            (self._folder / written.row.file).unlink()
        del self._written[mark.written :]
        self._selector.back_to(mark.held)

    def _keep(self, pick: Pick[_Taken] | None) -> None:
        if pick is None:
            return
        sampling, time_base = self._sampling, self._time_base
        taken = pick.item
        picture, rotation = taken.displayed()
        data = images.encode(picture, self._image)
        sample = len(self._written) if sampling.numbered_by_order else pick.position
        name = f"{sample:08d}.{self._image.format}"
        sha256 = images.write(self._folder / name, data)
        target = self._first_pts * time_base + sampling.offset_of(pick.position, time_base)
        row = FrameRow(
            sample=sample,
            target_s=float(target),
            pts=pick.pts,
            time_base=str(time_base),
            time_s=float(pick.pts * time_base),
            keyframe=taken.keyframe,
            pix_fmt=taken.pix_fmt,
            width=picture.shape[1],
            height=picture.shape[0],
            rotation=rotation,
            interlaced=taken.interlaced,
            file=name,
            bytes=len(data),
            sha256=sha256,
            status="ok",
        )
        self._written.append(_Written(taken.gop, taken.place, row))

    def _notes(self, duration_s: float) -> list[str]:
        if self._end_pts is None or not duration_s:
            return []
        end_s = float((self._end_pts - self._first_pts) * self._time_base)
        if duration_s - end_s <= max(MISSING_S, MISSING_SHARE * duration_s):
            return []
        return [
            f"ends after {end_s:.3f} s, although its container says {duration_s:.3f} s: cut short or damaged"
        ]


def _final_row(written: _Written) -> FrameRow:
    if written.gop.is_suspect(written.row.pts, written.place):
        return msgspec.structs.replace(written.row, status="suspect")
    return written.row
