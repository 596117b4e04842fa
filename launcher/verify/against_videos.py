"""Some frames of an output made again, each by decoding its video in order from the beginning.

Nothing of how a job cuts, seeks and leaves frames out is used; the pictures are made by the same code
(``framefleet.worker.picture.render``), so that a frame that is right has the same bytes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import cv2
from av.video.frame import VideoFrame

from framefleet.common.errors import UserError
from framefleet.common.job.image_options import ImageOptions
from framefleet.common.media import DROPPED
from framefleet.common.output.manifest import read_part
from framefleet.common.output.part_file import PartError, manifest_parts
from framefleet.launcher.output.completed_units import read_libraries
from framefleet.launcher.verify.recorded_options import FrameOptions, read_frame_options
from framefleet.launcher.verify.storage import Videos
from framefleet.worker.loaded_libraries import libraries
from framefleet.worker.picture import render
from framefleet.worker.video.input_file import ReadError
from framefleet.worker.video.open_video import MediaError, OpenVideo

ROWS_AT_ONCE = 16_384


class Drawn(NamedTuple):
    """A frame to be made again."""

    video: str
    sample: int
    pts: int
    file: str
    sha256: str
    status: str


@dataclass(slots=True)
class Compared:
    """``frames`` were compared, ``suspect`` ones left out: what a decoder conceals depends on where it
    began."""

    frames: int = 0
    videos: int = 0
    suspect: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compare(output: Path, source: Videos, *, samples: int, seed: int = 0) -> Compared:
    """Draw ``samples`` frames by ``seed`` and compare them with a sequential decode of their videos.

    Of ``output`` only the manifest is looked at.

    A frame must have the pts that its row says and the SHA-256 of its row; under ``--fps`` it must also be
    the one on screen at its time.

    Raises:
        UserError: the manifest or the videos cannot be read, or it does not tell how images were made.
    """
    compared = Compared()
    options = _options(output, compared)
    if options is None:
        return compared
    compared.notes += _unlike_here(output)
    by_video: dict[str, list[Drawn]] = {}
    for row in _draw(output, samples, random.Random(seed), compared):
        by_video.setdefault(row.video, []).append(row)
    for name in sorted(by_video):
        with source.video(name) as path:
            if path is None:
                compared.problems.append(f"{name}: is not in {source}")
                continue
            _compare_video(path, by_video[name], options.rate, options.image, compared)
            compared.videos += 1
    return compared


def _options(output: Path, compared: Compared) -> FrameOptions | None:
    """How frames were chosen and made, as the first part tells that is not damaged."""
    for part in manifest_parts(output):
        try:
            options = read_frame_options(part)
        except PartError as error:
            compared.problems.append(str(error))
            continue
        except OSError as error:
            raise UserError(f"{part} cannot be read: {error.strerror}") from error
        if options is None:
            raise UserError(f"{part} does not tell how its images were made: it is of an older version")
        return options
    return None


def _unlike_here(output: Path) -> Iterator[str]:
    """Sentences on libraries that made frames of the output, and are not those of this machine."""
    here, told = libraries(), set()
    for part in manifest_parts(output):
        try:
            found = read_libraries(part)
        except PartError:
            continue  # told already
        except OSError as error:
            raise UserError(f"{part} cannot be read: {error.strerror}") from error
        if found is not None and found != here:
            told.add(
                f"the frames were made with {found.unlike(here)}, and this machine has {here.unlike(found)}: "
                "images may differ for that alone"
            )
    yield from sorted(told)


def _draw(output: Path, count: int, chance: random.Random, compared: Compared) -> list[Drawn]:
    """``count`` rows, each row being as likely (reservoir sampling)."""
    drawn: list[Drawn] = []
    seen = 0
    for row in _rows(output):
        if row.status in DROPPED:
            continue
        if row.status != "ok":
            compared.suspect += 1
            continue
        seen += 1
        if len(drawn) < count:
            drawn.append(row)
        elif (place := chance.randrange(seen)) < count:
            drawn[place] = row
    return drawn


def _rows(output: Path) -> Iterator[Drawn]:
    for part in manifest_parts(output):
        try:
            table = read_part(part, Drawn._fields)
        except PartError:
            continue  # it has been told
        except OSError as error:
            raise UserError(f"{part} cannot be read: {error.strerror}") from error
        for batch in table.to_batches(ROWS_AT_ONCE):
            columns = (batch.column(name).to_pylist() for name in Drawn._fields)
            yield from (Drawn(*values) for values in zip(*columns, strict=True))


def _compare_video(
    path: Path, rows: list[Drawn], rate: Fraction | None, image: ImageOptions, compared: Compared
) -> None:
    open_rows = {row.pts: row for row in rows}
    # of each frame that a rate chose: the last tick at which it may begin, and where the next may not
    latest: dict[int, Fraction] = {}
    try:
        with OpenVideo(path) as video:
            time_base = video.time_base
            first: int | None = None
            shown: Drawn | None = None  # the drawn frame that was displayed last
            for frame, pts in _displayed(video):
                if shown is not None and pts <= latest.get(shown.pts, pts - 1):
                    compared.problems.append(f"{shown.file}: a later frame is on screen at its time")
                shown = None
                if first is None:
                    first = pts
                    if rate is not None:
                        latest = {
                            row.pts: first + row.sample / rate / time_base + Fraction(1, 2) for row in rows
                        }
                row = open_rows.pop(pts, None)
                if row is not None:
                    if pts > latest.get(pts, pts):
                        compared.problems.append(f"{row.file}: it is not on screen yet at its time")
                    data = render.encode(render.render(frame, image)[0], image)
                    if hashlib.sha256(data).hexdigest() != row.sha256:
                        compared.problems.append(
                            f"{row.file}: a fresh decode of {row.video} gives another image"
                        )
                    compared.frames += 1
                    shown = row
                elif not open_rows:
                    break
    except (MediaError, ReadError, OSError, cv2.error, MemoryError) as error:
        compared.problems.append(f"{rows[0].video}: cannot be decoded: {error}")
        return
    compared.problems += (
        f"{row.file}: {row.video} has no frame with pts {row.pts}" for row in open_rows.values()
    )


def _displayed(video: OpenVideo) -> Iterator[tuple[VideoFrame, int]]:
    """All frames in order with their pts, those left out whose pts does not grow.

    Raises:
        ReadError: the system refuses to read the file.
    """
    last: int | None = None
    for packet in video.container.demux(video.stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # the frames that it hits are suspect, and not compared
        for frame in frames:
            if isinstance(frame, VideoFrame) and frame.pts is not None and (last is None or frame.pts > last):
                last = frame.pts
                yield frame, frame.pts
    video.file.check()
