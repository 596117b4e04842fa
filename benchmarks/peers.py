"""The Python libraries, each used for extraction as its documentation and its users do.

Each function does a task on one thread, writes the images, and gives the times of the frames that it took, in
seconds as the library tells them (for OpenCV and decord: index / frame rate).
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from benchmarks.task import QUALITY, Task, from_json

if TYPE_CHECKING:
    import cv2

HALF_FRAME_S: Final = 1 / 120  # against the rounding of times: no clip has more than 60 frames a second
BATCH: Final = 16  # frames fetched at once: a longer list of 4K frames would fill the memory


def opencv_read(task: Task) -> list[float]:
    """``read()`` of every frame, ``imwrite`` of the wanted ones: the usual script."""
    import cv2

    capture, rate = _opencv_open(task)
    wanted = _wanted_indices(rate, _fps(task))
    taken: list[float] = []
    index, following = 0, next(wanted)
    while True:
        found, picture = capture.read()
        if not found:
            return taken
        if index == following:
            cv2.imwrite(task.image(len(taken)), _opencv_sized(picture, task), _jpeg())
            taken.append(float(index / rate))
            following = next(wanted)
        index += 1


def opencv_grab(task: Task) -> list[float]:
    """``grab()`` of every frame, ``retrieve()`` of the wanted ones, which spares the conversion."""
    import cv2

    capture, rate = _opencv_open(task)
    wanted = _wanted_indices(rate, _fps(task))
    taken: list[float] = []
    index, following = 0, next(wanted)
    while capture.grab():
        if index == following:
            _, picture = capture.retrieve()
            cv2.imwrite(task.image(len(taken)), _opencv_sized(picture, task), _jpeg())
            taken.append(float(index / rate))
            following = next(wanted)
        index += 1
    return taken


def opencv_seek(task: Task) -> list[float]:
    """A seek to each wanted frame."""
    import cv2

    capture, rate = _opencv_open(task)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    taken: list[float] = []
    for index in _wanted_indices(rate, _fps(task)):
        if index >= count:
            return taken
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        found, picture = capture.read()
        if found:
            cv2.imwrite(task.image(len(taken)), _opencv_sized(picture, task), _jpeg())
            taken.append(float(index / rate))
    return taken


def pyav(task: Task) -> list[float]:
    """All frames decoded in order, the wanted ones converted; keyframes by ``skip_frame``."""
    import av
    import cv2

    taken: list[float] = []
    fps = task.fps
    with av.open(task.video) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        if fps is None:
            stream.codec_context.skip_frame = "NONKEY"
        first_s: float | None = None
        for frame in container.decode(stream):
            if fps is None and not frame.key_frame:
                continue  # some decoders (VP9's) do not heed skip_frame
            if first_s is None:
                first_s = frame.time
            if fps is None or frame.time + HALF_FRAME_S > first_s + len(taken) / fps:
                size = task.size or (None, None)
                picture = frame.to_ndarray(format="bgr24", width=size[0], height=size[1])
                cv2.imwrite(task.image(len(taken)), picture, _jpeg())
                taken.append(frame.time - first_s)
    return taken


def decord(task: Task) -> list[float]:
    """``get_batch`` of the wanted indices, which its documentation recommends for sparse access."""
    import cv2
    import decord as library

    width, height = task.size or (-1, -1)
    reader = library.VideoReader(task.video, ctx=library.cpu(0), width=width, height=height, num_threads=1)
    rate = Fraction(reader.get_avg_fps()).limit_denominator(1001)
    if task.fps is None:
        indices = sorted(reader.get_key_indices())
    else:
        indices = []
        for index in _wanted_indices(rate, task.fps):
            if index >= len(reader):
                break
            indices.append(index)
    taken: list[float] = []
    for begin in range(0, len(indices), BATCH):
        batch = indices[begin : begin + BATCH]
        for index, picture in zip(batch, reader.get_batch(batch).asnumpy(), strict=True):
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            cv2.imwrite(task.image(len(taken)), picture, _jpeg())
            taken.append(float(index / rate))
    return taken


def torchcodec(task: Task) -> list[float]:
    """``get_frames_played_at`` of the wanted times, and its own JPEG encoder, the faster one here."""
    from torchcodec.decoders import VideoDecoder
    from torchcodec.encoders import JpegEncoder
    from torchcodec.transforms import Resize

    transforms = [Resize((task.size[1], task.size[0]))] if task.size else None
    decoder = VideoDecoder(task.video, num_ffmpeg_threads=1, seek_mode="exact", transforms=transforms)
    begin_s = decoder.metadata.begin_stream_seconds or 0.0
    batches: Iterator[Any]
    if task.fps is None:
        from torchcodec._core import _get_key_frame_indices

        keys = _get_key_frame_indices(decoder._decoder).tolist()
        batches = (decoder.get_frames_at(keys[at : at + BATCH]) for at in range(0, len(keys), BATCH))
    else:
        count = int((decoder.metadata.end_stream_seconds - begin_s - HALF_FRAME_S) * task.fps) + 1
        # a little behind the frame's beginning: as a double, k / F may fall before it
        times = [begin_s + float(number / task.fps) + 1e-6 for number in range(count)]
        batches = (decoder.get_frames_played_at(times[at : at + BATCH]) for at in range(0, len(times), BATCH))
    taken: list[float] = []
    for batch in batches:
        for picture, pts_s in zip(batch.data, batch.pts_seconds.tolist(), strict=True):
            JpegEncoder(picture).to_file(task.image(len(taken)), quality=QUALITY)
            taken.append(pts_s - begin_s)
    return taken


# each with the modules that it will import
PEERS: Final[dict[str, tuple[Callable[[Task], list[float]], tuple[str, ...]]]] = {
    "opencv-read": (opencv_read, ("cv2",)),
    "opencv-grab": (opencv_grab, ("cv2",)),
    "opencv-seek": (opencv_seek, ("cv2",)),
    "pyav": (pyav, ("av", "cv2")),
    "decord": (decord, ("decord", "cv2")),
    "torchcodec": (torchcodec, ("torchcodec.decoders", "torchcodec.encoders", "torchcodec.transforms")),
}


def _opencv_open(task: Task) -> tuple[cv2.VideoCapture, Fraction]:
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(task.video, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    return capture, Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)


def _opencv_sized(picture: Any, task: Task) -> Any:
    import cv2

    return picture if task.size is None else cv2.resize(picture, task.size, interpolation=cv2.INTER_AREA)


def _jpeg() -> list[int]:
    import cv2

    return [cv2.IMWRITE_JPEG_QUALITY, QUALITY]


def _fps(task: Task) -> Fraction:
    if task.fps is None:
        raise ValueError("OpenCV does not tell keyframes from others without decoding them all")
    return task.fps


def _wanted_indices(rate: Fraction, fps: Fraction) -> Iterator[int]:
    """Indices of the frames on screen at k / fps, for frames that are all 1 / rate long."""
    number = 0
    while True:
        yield int(number * rate / fps)
        number += 1


def main(name: str, task: Task) -> None:
    """Do the task as a peer, and print what ``benchmarks.measure`` reads."""
    work, modules = PEERS[name]
    for module in modules:
        importlib.import_module(module)
    start_s = time.process_time()
    print(json.dumps({"taken_s": work(task), "start_s": start_s}))


if __name__ == "__main__":
    main(sys.argv[1], from_json(sys.argv[2]))
