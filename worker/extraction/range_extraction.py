"""The frames of a range of a video, found, decoded and handed to a writer; no more is decoded than must be.

It knows files and frames, but no messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from framefleet.common.job.sampling import Pick, Sampling, Selector
from framefleet.common.job.spec import ImageOptions
from framefleet.common.media import Fingerprint, Timing, UnitResult
from framefleet.worker.bitstream.droppable import classifier_for
from framefleet.worker.extraction.frame_writer import Taken, Writer, copied
from framefleet.worker.extraction.image_sink import Sink
from framefleet.worker.picture import render
from framefleet.worker.picture.dedup_and_blur import Measures
from framefleet.worker.video.decode_plan import Planner
from framefleet.worker.video.decode_session import Session, continue_session, open_session
from framefleet.worker.video.fingerprint import Check
from framefleet.worker.video.gop import Gop, Shown
from framefleet.worker.video.keyframes import keyframes
from framefleet.worker.video.open_video import OpenVideo

# A file is said to be cut short when it lacks more than this of what its container claims: the audio
# of a whole file may well last a little longer than the pictures.
MISSING_S: Final = 0.5
MISSING_SHARE: Final = 0.05

MAX_LISTED: Final = 5  # times in a note
MAX_REPLANS: Final = 8  # of one GOP whose packets give no frames; then it is decoded whole

# (every sample below this position is staged, frames so far) -> where to stop now
Checkpoint = Callable[[int, int], int | None]


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """The state just before the first frame from a keyframe on was taken."""

    key_pts: int | None
    held: Pick[Taken] | None
    written: int


@dataclass(frozen=True, slots=True)
class _Redo:
    """Decode again from this keyframe; None: from the start of the file."""

    key_pts: int | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a video: see ``extract.extract``, which takes the same as arguments."""

    first_pts: int
    sampling: Sampling
    start: int
    stop: int | None
    rank: int = 0


class Extraction:
    """One range, extracted once.

    Without a ``sink`` nothing is written, and the frames' ``measures`` are all that comes of it. ``before``
    are those of the sample before the range; ``told`` is what the probe found, if that is to be checked.
    """

    def __init__(
        self,
        video: OpenVideo,
        wanted: Wanted,
        *,
        image: ImageOptions,
        sink: Sink | None = None,
        before: Measures | None = None,
        told: Fingerprint | None = None,
    ) -> None:
        first_pts, sampling, start = wanted.first_pts, wanted.sampling, wanted.start
        self._video = video
        self._check = Check(video, told)
        self._first_pts = first_pts
        self._sampling = sampling
        self._start = start
        self._image = image
        self._time_base = video.time_base
        self._range_ticks = sampling.last_tick(start, self._time_base)
        self._before_range = (
            first_pts + sampling.last_tick(start - 1, self._time_base) if start else first_pts - 1
        )
        self._selector: Selector[Taken] = Selector(
            sampling, self._time_base, first_pts=first_pts, start=start, stop=wanted.stop, rank=wanted.rank
        )
        self._planner = self._make_planner()
        self._writer = Writer(
            sampling, image, sink, time_base=self._time_base, first_pts=first_pts, before=before
        )
        self._mark: _Checkpoint | None = None
        self._initial = _Checkpoint(None, self._selector.held, 0)
        self._session_mark = self._initial
        self._settled: set[int] = set()
        self._replans = 0
        self._floor: int | None = None
        self._errors: set[tuple[int | None, int]] = set()
        self.decoded = 0
        self._roll_in = 0
        self._began_s = time.perf_counter()
        self._roll_in_s = 0.0
        self._end_pts: int | None = None
        self._last_pts: int | None = None
        self._saw_end = False

    def _make_planner(self) -> Planner | None:
        """None where every frame is wanted, or packets do not map one to one onto frames."""
        sampling, video = self._sampling, self._video
        if not video.is_regular or (sampling.numbered_by_order and sampling.every == 1):
            return None
        return Planner(
            sampling,
            self._selector,
            classifier_for(video.codec, video.stream.codec_context.extradata),
            time_base=self._time_base,
            first_pts=self._first_pts,
            start=self._start,
            goes_on=video.has_false_keys,
        )

    def run(self, checkpoint: Checkpoint) -> None:
        tick = self._start_tick()
        if self._sampling.keyframes_only or tick is not None:
            self._check.look_apart()
        if self._sampling.keyframes_only:
            self._take_keyframes(checkpoint)
            return
        session = open_session(self._video, tick, planner=self._planner)
        while True:
            self._session_mark = _Checkpoint(session.start_pts, self._selector.held, self._writer.count)
            try:
                redo = self._take(session, checkpoint)
            finally:
                session.close()
            self._errors |= session.errors
            self.decoded += session.decoded
            self._ask(checkpoint)  # a session may be one GOP, and over before it counted a step
            if redo is not None:
                self._floor = redo.key_pts
                session = open_session(self._video, redo.key_pts, planner=self._planner, fresh=True)
            elif session.resume_at is None or self._selector.finished:
                self._check.look_apart()  # not one frame was decoded
                return
            else:
                session = self._session_behind(session)

    @property
    def measures(self) -> list[Measures]:
        """Of each frame so far, in order."""
        return self._writer.measures

    def _start_tick(self) -> int | None:
        """pts up to which the first frame of the range may lie; None: it may be the file's first."""
        return self._first_pts + self._range_ticks if self._range_ticks > 0 else None

    def result(self, duration_s: float) -> UnitResult:
        return UnitResult(
            video_bytes=self._video.size_bytes,
            rows=self._writer.rows(),
            decoded=self.decoded,
            roll_in=self._roll_in,
            errors=len(self._errors),
            saw_end=self._saw_end,
            shown=self._selector.shown,
            timing=self._timing(),
            notes=self._notes(duration_s),
        )

    def _timing(self) -> Timing:
        writer = self._writer
        written_s = writer.convert_s + writer.encode_s + writer.write_s
        decode_s = time.perf_counter() - self._began_s - self._roll_in_s - written_s
        return Timing(
            roll_in_s=round(self._roll_in_s, 4),
            decode_s=round(max(0.0, decode_s), 4),
            convert_s=round(writer.convert_s, 4),
            encode_s=round(writer.encode_s, 4),
            write_s=round(writer.write_s, 4),
        )

    def _session_behind(self, session: Session) -> Session:
        assert self._planner is not None
        following = continue_session(self._video, session, self._planner)
        if following is None and not self._video.can_seek:
            self._start_over()
            return open_session(self._video, None)
        if following is None:
            following = open_session(self._video, session.resume_at, planner=self._planner)
        if not _is_behind(following.start_pts, session.start_pts):
            # False keyframes, or timestamps that jump: from now on no GOP is left before its end.
            self._video.has_false_keys = self._planner.goes_on = True
            self._take_back(self._initial)
            return open_session(self._video, self._start_tick(), planner=self._planner)
        return following

    def _take(self, session: Session, checkpoint: Checkpoint) -> _Redo | None:
        """Take a session's frames; gives from where to decode again, None if all is well."""
        selector = self._selector
        steps = session.steps
        for shown in session:
            if not self._check.passes(session, shown):
                self._check.look_apart()
                return _Redo(None)
            if (redo := self._doubtful(session, shown.pts)) is not None:
                return redo
            if self._floor is None or shown.pts >= self._floor:
                self._take_frame(shown)
            if session.steps != steps:
                steps = session.steps
                self._ask(checkpoint)
            if selector.finished:
                break
        if selector.finished:
            session.drain()
        held = selector.held
        if held is not None and (redo := self._doubtful(session, held.pts)) is not None:
            return redo
        if (redo := self._incomplete(session)) is not None:
            return redo
        if not selector.finished and session.resume_at is None:
            self._saw_end = True
            self._take_end(session.end_pts)
        return None

    def _take_frame(self, shown: Shown) -> None:
        key_pts = shown.gop.key_pts
        if (
            key_pts is not None
            and shown.pts >= key_pts
            and (self._mark is None or self._mark.key_pts is None or key_pts > self._mark.key_pts)
        ):
            self._mark = _Checkpoint(key_pts, self._selector.held, self._writer.count)
        if shown.pts <= self._before_range and shown.frame is not None:
            self._roll_in += 1
            if not self._writer.count:  # else it is what a GOP that is decoded again begins with
                self._roll_in_s = time.perf_counter() - self._began_s
        self._writer.keep(self._selector.feed(self._taken(shown), shown.pts))

    def _taken(self, shown: Shown) -> Taken:
        frame, gop = shown.frame, shown.gop
        if frame is None:
            return Taken(gop, shown.place)
        # A frame held is a buffer that the decoder cannot recycle, and damaged pictures may show what
        # recycled buffers hold: where that counts, nothing is held.
        at_once = self._floor is not None and (
            gop.key_pts == self._floor or gop.needs_own_session or gop.is_leading(shown.pts)
        )
        wanted = shown.pts > self._before_range
        return Taken(
            gop=gop,
            place=shown.place,
            frame=None if at_once else frame,
            keyframe=frame.key_frame,
            pix_fmt=frame.format.name,
            interlaced=frame.interlaced_frame,
            duration_ticks=frame.duration or 0,
            picture=copied(render.render(frame, self._image)) if at_once and wanted else None,
        )

    def _take_end(self, end_pts: int | None) -> None:
        held = self._selector.held
        if held is not None:
            duration_ticks = held.item.duration_ticks
            self._end_pts = max(held.pts + duration_ticks, end_pts or held.pts)
            self._writer.keep(self._selector.end(duration_ticks))
        self._last_pts = self._end_pts or end_pts

    def _take_keyframes(self, checkpoint: Checkpoint) -> None:
        selector = self._selector
        for place, key in enumerate(keyframes(self._video, self._start_tick())):
            if key.refused:
                self._errors.add((key.pts, 0))
            if key.frame is not None:
                self.decoded += 1
                gop = Gop(key.pts, damaged_at=0 if key.damaged else None)
                self._writer.keep(selector.feed(self._taken(Shown(key.frame, key.pts, gop, 0)), key.pts))
            position = self._sampling.position_of(key.pts - self._first_pts, self._time_base)
            if selector.stop is not None and position >= selector.stop:
                return
            if place:
                self._ask(checkpoint)
        self._saw_end = True

    def _ask(self, checkpoint: Checkpoint) -> None:
        selector = self._selector
        stop = checkpoint(selector.done_to, self._writer.count)
        if stop is not None and (selector.stop is None or stop < selector.stop):
            selector.stop = max(stop, selector.done_to)

    def _doubtful(self, session: Session, pts: int) -> _Redo | None:
        """The first keyframe up to ``pts`` whose GOP must be decoded again; what it gave is taken back."""
        if not self._video.can_seek:
            if self._planner is None or not any(_is_damaged(gop) for gop in session.gops):
                return None
            return self._start_over()
        passed_pts = self._mark.key_pts if self._mark is not None else None
        for gop in session.gops:
            key_pts = gop.key_pts
            if key_pts is None or key_pts > pts or (passed_pts is not None and key_pts < passed_pts):
                continue
            if gop.needs_own_session and key_pts not in self._settled:
                self._settled.add(key_pts)
                self._replans = 0
                if self._mark is not None and self._mark.key_pts == key_pts:
                    self._take_back(self._mark)  # else nothing of this GOP was taken yet
                return _Redo(key_pts)
        return None

    def _incomplete(self, session: Session) -> _Redo | None:
        """Where a session must be done again because frames that were to come did not."""
        planner = self._planner
        if planner is None or not session.thinned:
            return None
        missing = session.missing() - planner.failed
        if not missing and not session.disordered:
            return None
        if not self._video.can_seek:
            return self._start_over()
        if not any(_is_damaged(gop) for gop in session.gops):
            self._video.is_regular = False
            self._planner = None
        elif missing and self._replans < MAX_REPLANS:
            self._replans += 1
            planner.failed |= missing
        else:
            planner.whole_to = max(
                (gop.key_pts for gop in session.gops if gop.key_pts is not None), default=None
            )
            if planner.whole_to is None:
                self._planner = None
        self._take_back(self._session_mark)
        return _Redo(self._session_mark.key_pts)

    def _start_over(self) -> _Redo:
        """Forget everything, and decode the whole file in one go."""
        self._planner = None
        self._video.is_regular = False
        self._take_back(self._initial)
        return _Redo(None)

    def _take_back(self, mark: _Checkpoint) -> None:
        self._writer.take_back(mark.written)
        self._selector.back_to(mark.held)

    def _notes(self, duration_s: float) -> list[str]:
        notes = []
        if self._end_pts is not None and duration_s:
            end_s = float((self._end_pts - self._first_pts) * self._time_base)
            if duration_s - end_s > max(MISSING_S, MISSING_SHARE * duration_s):
                notes.append(
                    f"ends after {end_s:.3f} s, although its container says {duration_s:.3f} s: "
                    "cut short or damaged"
                )
        times = self._sampling.times
        if times is not None and self._last_pts is not None:
            end = (self._last_pts - self._first_pts) * self._time_base
            beyond = [time for time in times[self._start : self._selector.stop] if time >= end]
            if beyond:
                notes.append(f"ends after {float(end):.3f} s: nothing to give for {_listed(beyond)}")
        return notes


def _listed(times: Sequence[Fraction]) -> str:
    """The first few of the times wanted, for the user."""
    few = ", ".join(f"{float(time):g} s" for time in times[:MAX_LISTED])
    return few if len(times) <= MAX_LISTED else f"{few} and {len(times) - MAX_LISTED} more times"


def _is_behind(key_pts: int | None, other_pts: int | None) -> bool:
    return key_pts is not None and (other_pts is None or key_pts > other_pts)


def _is_damaged(gop: Gop) -> bool:
    return gop.needs_own_session or gop.leading_damaged_at is not None
