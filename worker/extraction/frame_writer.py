"""Frames that were picked, as image files and rows; until the end they can be taken back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction

import msgspec
from av.video.frame import VideoFrame

from framefleet.common.job.sampling import Pick, Sampling
from framefleet.common.job.spec import ImageOptions
from framefleet.common.media import FrameRow, FrameStatus
from framefleet.worker.extraction.image_sink import Sink
from framefleet.worker.picture import render
from framefleet.worker.picture.dedup_and_blur import Measures, is_choosing, measure, verdict
from framefleet.worker.video.gop import Gop

_UNMEASURED = Measures()


@dataclass(frozen=True, slots=True)
class _Written:
    """A frame on disk. Its row's status is open: damage may show later than the frames that it hits."""

    gop: Gop
    place: int
    row: FrameRow
    measures: Measures


@dataclass(frozen=True, slots=True)
class Taken:
    """A displayed frame that may be written, or its picture already (and the angle).

    Neither ``frame`` nor ``picture``: it was not decoded, or too early to be wanted.
    """

    gop: Gop
    place: int
    frame: VideoFrame | None = None
    keyframe: bool = False
    pix_fmt: str = ""
    interlaced: bool = False
    duration_ticks: int = 0
    picture: tuple[render.Picture, int] | None = None

    def displayed(self, image: ImageOptions) -> tuple[render.Picture, int] | None:
        if self.picture is not None or self.frame is None:
            return self.picture
        return render.render(self.frame, image)


class Writer:
    """Writes picked frames into ``sink``; remembers them, and the seconds that each step takes.

    Without a sink it only measures them. ``before`` is what was measured of the sample before the first.
    """

    def __init__(
        self,
        sampling: Sampling,
        image: ImageOptions,
        sink: Sink | None,
        *,
        time_base: Fraction,
        first_pts: int,
        before: Measures | None = None,
    ) -> None:
        self._sampling = sampling
        self._image = image
        self._sink = sink
        self._time_base = time_base
        self._first_pts = first_pts
        self._before = before
        self._is_choosing = is_choosing(image)
        self._written: list[_Written] = []
        self.convert_s = self.encode_s = self.write_s = 0.0

    @property
    def count(self) -> int:
        """Frames on disk, or dropped."""
        return len(self._written)

    @property
    def measures(self) -> list[Measures]:
        """What was measured of each frame."""
        return [written.measures for written in self._written]

    def rows(self) -> list[FrameRow]:
        """A row for each frame, in order."""
        return [_final_row(written) for written in self._written]

    def take_back(self, count: int) -> None:
        """Remove all but the first ``count`` frames."""
        for written in reversed(self._written[count:]):
            if self._sink is not None and written.row.file:
                self._sink.take_back(written.row)
        del self._written[count:]

    def keep(self, pick: Pick[Taken] | None) -> None:
        """Write a picked frame.

        Raises:
            MediaError: it cannot become such an image.
            OSError: the sink cannot be written to.
        """
        if pick is None:
            return
        sampling, time_base = self._sampling, self._time_base
        taken = pick.item
        began_s = time.perf_counter()
        displayed = taken.displayed(self._image)
        if displayed is None:
            return  # it has no picture: a packet that gave no frame
        picture, rotation = displayed
        measures, status, distance = self._choose(picture)
        converted_s = time.perf_counter()
        self.convert_s += converted_s - began_s
        sample = len(self._written) if sampling.numbered_by_order else pick.position
        name = sha256 = ""
        data, place = b"", None
        if status == "ok" and self._sink is not None:
            data = render.encode(picture, self._image)
            encoded_s = time.perf_counter()
            name = f"{sample:08d}.{self._image.suffix}"
            sha256, place = self._sink.add(name, data)
            self.encode_s += encoded_s - converted_s
            self.write_s += time.perf_counter() - encoded_s
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
            place=place,
            bytes=len(data),
            sha256=sha256,
            status=status,
            distance=distance,
            sharpness=measures.sharpness,
        )
        self._written.append(_Written(taken.gop, taken.place, row, measures))

    def _choose(self, picture: render.Picture) -> tuple[Measures, FrameStatus, int | None]:
        """What is measured of a picture, whether it is worth an image, and its distance to the one before."""
        if not self._is_choosing:
            return _UNMEASURED, "ok", None
        measures = measure(picture, self._image)
        before = self._written[-1].measures if self._written else self._before
        return (measures, *verdict(measures, before, self._image))


def copied(rendered: tuple[render.Picture, int]) -> tuple[render.Picture, int]:
    """The same in memory of its own: a picture may lie in the decoder's."""
    picture, rotation = rendered
    return picture.copy(), rotation


def _final_row(written: _Written) -> FrameRow:
    if written.row.status == "ok" and written.gop.is_suspect(written.row.pts, written.place):
        return msgspec.structs.replace(written.row, status="suspect")
    return written.row
