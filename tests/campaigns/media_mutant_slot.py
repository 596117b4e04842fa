"""The process of the mutation campaign in which mutants are probed and extracted, under a slot's limits.

It reads requests, a line of JSON each, and answers with lines; like a slot it lives on from file to file.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.spec import ImageOptions, LimitOptions
from framefleet.common.media import FrameRow, UnitResult, VideoInfo
from framefleet.worker import slot_limits as limits
from framefleet.worker.extraction.extract import extract
from framefleet.worker.video.open_video import MediaError, OpenVideo
from framefleet.worker.video.probe import probe
from tests.campaigns.media_mutations import Answer

IMAGE = ImageOptions(quality=50)
SAMPLINGS = {
    "5 fps": Sampling(Fraction(5)),
    "native": Sampling(),
    "every 7": Sampling(every=7),
    "keyframes": Sampling(keyframes_only=True),
}
CUTS = 3
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

_folder: str | None = None
_stray: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Note what Python code writes, makes or renames outside the folder for frames."""
    if _folder is None:
        return
    if event == "open":
        if not isinstance(arguments[0], str | bytes) or not arguments[2] & _WRITING:
            return
    elif event not in ("os.mkdir", "os.rename", "os.link", "os.symlink"):
        return
    for argument in arguments[: 2 if event == "os.rename" else 1]:
        path = os.path.realpath(os.fsdecode(argument))
        if not path.startswith(_folder):
            _stray.append(f"{event} {path}")


@contextmanager
def _writing_only_in(folder: Path) -> Iterator[None]:
    global _folder
    _folder = os.path.realpath(folder)
    try:
        yield
    finally:
        _folder = None


def _unit(
    video: OpenVideo, info: VideoInfo, sampling: Sampling, folder: Path, start: int, stop: int | None
) -> UnitResult:
    folder.mkdir()
    result = extract(
        video,
        info.first_pts,
        sampling,
        start,
        stop,
        image=IMAGE,
        folder=folder,
        checkpoint=lambda done_to, frames: None,
        duration_s=info.duration_s,
    )
    there, told = {path.name for path in folder.iterdir()}, {row.file for row in result.rows}
    if there != told:
        raise AssertionError(f"files {sorted(there - told)} have no row, rows {sorted(told - there)} no file")
    return result


def _try(path: Path, folder: Path, cut: int | None, answer: Answer) -> None:
    info = probe(path)
    answer.pixels = info.width * info.height
    with OpenVideo(path) as video:
        for name, sampling in SAMPLINGS.items():
            try:
                rows = _unit(video, info, sampling, folder / f"whole {name}", 0, None).rows
            except MediaError as error:
                answer.reasons.append(f"{name}: {error}")
                continue
            answer.frames += len(rows)
            answer.suspect += sum(row.status == "suspect" for row in rows)
            answer.pixels = max([answer.pixels, *(row.width * row.height for row in rows)])
            if not rows and not sampling.keyframes_only:
                answer.faults.append(("nothing", f"the probe had a frame, {name} has none"))
            elif rows and cut is not None and info.seekable and sampling.every == 1:
                answer.cut = (answer.cut or []) + _compare(video, info, name, folder, rows, cut)


def _compare(
    video: OpenVideo, info: VideoInfo, name: str, folder: Path, whole: list[FrameRow], seed: int
) -> list[str]:
    """How the frames of random pieces, done in a random order, differ from those of the whole."""
    sampling, chance = SAMPLINGS[name], random.Random(seed)
    last = sampling.position_of(whole[-1].pts - info.first_pts, info.time_base)
    if last < 1:
        return []
    cuts = sorted(chance.sample(range(1, last + 2), min(last, CUTS)))
    units = list(pairwise([0, *cuts, None]))
    chance.shuffle(units)
    rows: dict[int, list[FrameRow]] = {}
    for start, stop in units:
        assert start is not None
        try:
            rows[start] = _unit(video, info, sampling, folder / f"{name} {start}", start, stop).rows
        except MediaError as error:
            return [f"{name}, cut at {cuts}, [{start}, {stop}): {error}"]
    pieces = [row for start in sorted(rows) for row in rows[start]]
    if [_same(row, sampling) for row in pieces] == [_same(row, sampling) for row in whole]:
        return []
    ours, theirs = ({(row.pts, row.sha256, row.status) for row in found} for found in (whole, pieces))
    only = sorted((pts, status, digest[:8]) for pts, digest, status in ours - theirs)
    more = sorted((pts, status, digest[:8]) for pts, digest, status in theirs - ours)
    told = f"{len(whole)} frames whole, {len(pieces)} in pieces"
    return [f"{name}, cut at {cuts}: {told}; only whole: {only[:4]}; only in pieces: {more[:4]}"]


def _same(row: FrameRow, sampling: Sampling) -> tuple[object, ...]:
    """What no cut may change; frames numbered by their order are numbered from each unit's start."""
    return (0 if sampling.numbered_by_order else row.sample, row.pts, row.sha256, row.status)


def answer_to(request: dict[str, Any]) -> Answer:
    """Probe and extract one file; whatever comes of it is in the answer."""
    limits.give_back_memory()  # as a slot does when it goes on to another file
    answer = Answer(before_bytes=_status_bytes("VmRSS"))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.monotonic()
    folder = Path(request["folder"])
    try:
        with _writing_only_in(folder):
            _try(Path(request["path"]), folder, request["cut"], answer)
    except MediaError as error:
        answer.reasons.append(str(error))
    except Exception:  # noqa: BLE001 - whatever it is, it is what the campaign is for
        answer.faults.append(("exception", traceback.format_exc()))
    answer.seconds = time.monotonic() - began
    answer.peak_bytes = _status_bytes("VmHWM")
    if not answer.frames and not answer.reasons and not answer.faults:
        answer.faults.append(("nothing", "neither frames nor a reason"))
    if _stray:
        answer.faults.append(("stray file", "; ".join(_stray)))
        _stray.clear()
    shutil.rmtree(folder)
    return answer


def _status_bytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is not taken for an answer
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    sys.addaudithook(_audit)
    limits.enter(limits.limits_for(LimitOptions(), slots=1, host_bytes=None), ctypes.c_uint64())
    for line in sys.stdin:
        answers.write(msgspec.json.encode(answer_to(json.loads(line))) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
