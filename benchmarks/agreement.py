"""Whether contestants take the same frames, found before their times are compared.

What a contestant says of its frames is compared with the definition of sampling, applied to the pts of all
packets; and of some of its images each must look like the frame that is wanted, and more so than
like the frames around it. Our own frames are compared with plain decoding, pixel by pixel, all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.floor import wanted_pts
from benchmarks.task import Task

CHECKED: Final = 6  # images of one contestant looked at, evenly spaced
# JPEG of quality 95 gives 36 dB and more here; another scaler or another way to widen the chroma takes a few
MIN_PSNR_DB: Final = 28.0
MARGIN_DB: Final = 0.2  # by which a neighbour may look more alike: frames that stand still

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Agreement:
    """What was found. ``objection``: how the frames differ from those that are wanted; "" if they do not."""

    objection: str
    images: int
    mean_bytes: int
    min_psnr_db: float


@dataclass(frozen=True)
class Reference:
    """One video as plain decoding shows it.

    Attributes:
        rate: frames a second; they are all of one length.
        wanted: by sampling, the indices (in order of display) of the frames that are wanted.
        md5: of the BGR pixels of those frames, by index.
        pictures: the frames that are looked at and their neighbours, BGR, by index.
    """

    rate: Fraction
    wanted: Mapping[str, Sequence[int]]
    md5: Mapping[int, str]
    pictures: Mapping[int, Picture]


def checked(count: int) -> list[int]:
    """Which of ``count`` images are looked at."""
    return sorted({place * (count - 1) // max(1, CHECKED - 1) for place in range(CHECKED)})


def read_reference(path: Path, tasks: Mapping[str, Task]) -> Reference:
    """Decode the video at ``path`` plainly, for tasks by the names of their samplings."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        time_base, rate = stream.time_base, stream.average_rate
    assert time_base is not None
    assert rate is not None
    pts = sorted(packet.pts for packet in packets if packet.pts is not None)
    index_of = {value: index for index, value in enumerate(pts)}
    wanted = {
        name: sorted(index_of[value] for value in wanted_pts(packets, time_base, task))
        for name, task in tasks.items()
    }
    kept = {
        indices[place] + offset
        for indices in wanted.values()
        for place in checked(len(indices))
        for offset in (-1, 0, 1)
    }
    hashed = {index for indices in wanted.values() for index in indices}
    md5: dict[int, str] = {}
    pictures: dict[int, Picture] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            assert isinstance(frame, VideoFrame)
            if frame.pts != pts[index]:
                raise ValueError(f"{path.name}: frame {index} has pts {frame.pts}, its packet {pts[index]}")
            if index in kept or index in hashed:
                picture = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
                if index in hashed:
                    md5[index] = hashlib.md5(picture.tobytes()).hexdigest()
                if index in kept:
                    pictures[index] = picture
    return Reference(rate, wanted, md5, pictures)


def agreement(reference: Reference, sampling: str, task: Task, told: Mapping[str, Any]) -> Agreement:
    """Look at what a contestant left in the task's folder, and at what it told of its frames."""
    indices = reference.wanted[sampling]
    files = sorted(Path(task.folder).iterdir())
    mean_bytes = sum(file.stat().st_size for file in files) // max(1, len(files))
    psnr_db = 99.0
    objection = ""
    if len(files) != len(indices):
        objection = f"{len(files)} frames, not {len(indices)}"
    elif [file.name for file in files] != [Path(task.image(number)).name for number in range(len(files))]:
        objection = "other numbers"
    else:
        taken = [round(seconds * reference.rate) for seconds in told.get("taken_s", [])]
        for number, (mine, wanted) in enumerate(zip(taken, indices, strict=bool(taken))):
            if mine != wanted:
                objection = f"image {number} is frame {mine}, not {wanted}"
                break
    if not objection:
        for place in checked(len(files)):
            found = cv2.imread(str(files[place]), cv2.IMREAD_COLOR)
            likeness = {
                offset: _psnr_db(found, reference.pictures[indices[place] + offset], task)
                for offset in (-1, 0, 1)
                if indices[place] + offset in reference.pictures
            }
            psnr_db = min(psnr_db, likeness[0])
            best = max(likeness, key=lambda offset: likeness[offset])
            if likeness[best] > likeness[0] + MARGIN_DB:
                objection = f"image {place} looks like frame {indices[place] + best}, not {indices[place]}"
            elif likeness[0] < MIN_PSNR_DB:
                objection = f"image {place} looks like nothing wanted ({likeness[0]:.1f} dB)"
    return Agreement(objection, len(files), mean_bytes, psnr_db)


def differing(reference: Reference, sampling: str, task: Task) -> list[int]:
    """Numbers of our own lossless images whose pixels are not those of plain decoding."""
    found = []
    for number, index in enumerate(reference.wanted[sampling]):
        picture = cv2.imread(task.image(number), cv2.IMREAD_COLOR)
        if picture is None or hashlib.md5(picture.tobytes()).hexdigest() != reference.md5[index]:
            found.append(number)
    return found


def _psnr_db(found: Any, wanted: Picture, task: Task) -> float:
    if task.size is not None:
        wanted = cv2.resize(wanted, task.size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if found is None or found.shape != wanted.shape:
        return 0.0
    return cv2.PSNR(found, wanted)
