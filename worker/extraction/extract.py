"""A range of a video into image files: exact, whatever the range, and whatever was asked before."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.common.media import Fingerprint, UnitResult
from framefleet.worker.extraction.image_sink import BundleSink, LooseSink
from framefleet.worker.extraction.range_extraction import Checkpoint, Extraction, Wanted
from framefleet.worker.picture.dedup_and_blur import Measures
from framefleet.worker.video.open_video import MediaError, OpenVideo

FIRST_LOOK_S: Final = 0.2  # how far back the sample before a range is looked for at first


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
    rank: int = 0,
    bundled: bool = False,
    told: Fingerprint | None = None,
) -> UnitResult:
    """Write the frames wanted at positions ``[start, stop)`` into ``folder``, one file each, or (``bundled``)
    all into one, where each begins at its row's ``place``.

    ``first_pts`` and ``duration_s`` (0: unknown) are what the probe found; ``stop`` None means to the
    end. ``rank`` is the number of frames displayed before ``start``, for what takes every N-th frame.
    ``folder`` is private to this call. ``checkpoint`` is asked after every GOP, and within a long one; its
    answer may lower the stop: not below the position it was told, and not raise it.
    ``video`` stays open, and usable for any other range. ``told``: what the probe found, to be checked before
    anything is written; None: it was, since the file was opened.

    Raises:
        ContradictionError: the video is not what its probe ``told``.
        MediaError: the file holds frames that cannot become images.
        OSError: ``folder`` cannot be written to.
        Whatever ``checkpoint`` raises.
    """
    wanted = Wanted(first_pts, sampling, start, stop, rank)
    look = None
    if image.dedup is not None and start > sampling.range_of(video.time_base)[0]:
        look = _LookBack(video, wanted, image, checkpoint)
        look.run()
        wanted = replace(wanted, stop=look.stop)
    before = None if look is None else look.found
    with closing(BundleSink(folder) if bundled else LooseSink(folder)) as sink:
        work = Extraction(video, wanted, image=image, sink=sink, before=before, told=told)
        work.run(checkpoint)
    result = work.result(duration_s)
    return result if look is None else look.added_to(result)


class _LookBack:
    """The sample before a range, which decides whether the first one in it is a duplicate.

    Where it is cannot be known: rates give positions that no frame has, and frames taken as they come may be
    any time apart. So ever more of what lies before is extracted, without writing anything.
    """

    def __init__(self, video: OpenVideo, wanted: Wanted, image: ImageOptions, checkpoint: Checkpoint) -> None:
        self._video = video
        self._wanted = wanted
        self._image = image
        self._checkpoint = checkpoint
        self._decoded = 0
        self._began_s = time.perf_counter()
        self._seconds = 0.0
        self.stop = wanted.stop
        self.found: Measures | None = None

    def run(self) -> None:
        """Find it, if there is one; ``stop`` may be lower then, as the checkpoint answers here too."""
        time_base, wanted, start = self._video.time_base, self._wanted, self._wanted.start
        all_frames = replace(wanted.sampling, every=1)
        first = all_frames.range_of(time_base)[0]
        # of every N-th frame the one before has rank - 1 or less, and the rank may only be right modulo N
        frames_back = (wanted.rank - 1) % wanted.sampling.every + 1
        width = 1
        if all_frames.numbered_by_order:
            width = max(1, round(FIRST_LOOK_S / time_base))
        while True:
            since = max(first, start - width)
            before = Wanted(wanted.first_pts, all_frames, since, start)
            work = Extraction(self._video, before, image=self._image)
            try:
                work.run(self._ask)
            except MediaError:
                return  # it is told of where that sample lies; here it is only no reason to drop anything
            self._decoded += work.decoded
            self._seconds = time.perf_counter() - self._began_s
            if len(work.measures) >= frames_back:
                self.found = work.measures[-frames_back]
                return
            if since == first:
                return
            width *= 4

    def added_to(self, result: UnitResult) -> UnitResult:
        """The result with what this has cost as a part of its roll-in."""
        return msgspec.structs.replace(
            result,
            decoded=result.decoded + self._decoded,
            roll_in=result.roll_in + self._decoded,
            timing=msgspec.structs.replace(
                result.timing, roll_in_s=round(result.timing.roll_in_s + self._seconds, 4)
            ),
        )

    def _ask(self, _done_to: int, _count: int) -> None:
        """Tell that nothing of the range is done yet; what is answered about its end holds later."""
        stop = self._checkpoint(self._wanted.start, 0)
        if stop is not None and (self.stop is None or stop < self.stop):
            self.stop = max(stop, self._wanted.start)
