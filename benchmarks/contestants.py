"""Who takes part: how each is started, what it can do, and which version it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import clips
from benchmarks.task import Task

OURS: Final = "framefleet"
FLOOR: Final = "floor"
REPOSITORY: Final = clips.REPOSITORY
FFMPEG_QUALITY: Final = "2"  # of mjpeg: the best on its usual scale of 2 to 31

# Below this rate people seek instead of reading all; above it that is slower than anything here.
SEEKING_BELOW_FPS: Final = 0.5


def ffmpeg_command(task: Task, *, program: Path, threads: bool) -> list[str]:
    """One call of ffmpeg that decodes everything and keeps what is wanted."""
    one = [] if threads else ["-threads", "1"]
    # some decoders (VP9's) do not heed -skip_frame, so that the filter must do what is left
    filters = ["select=key"] if task.rate is None else [f"fps={task.rate}:round=up"]
    if task.size is not None:
        filters.append(f"scale={task.size[0]}:{task.size[1]}")
    return [
        *(str(program), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *one),
        *(["-skip_frame", "nokey"] if task.rate is None else []),
        *("-i", task.video, "-map", "0:v:0"),
        *("-vf", ",".join(filters)),
        *(["-fps_mode", "passthrough"] if task.rate is None else []),
        *("-q:v", FFMPEG_QUALITY, *one, "-start_number", "0", str(Path(task.folder) / "%08d.jpg")),
    ]


def ffmpeg_seek_command(task: Task, *, program: Path) -> list[str]:
    """One call of ffmpeg with an input for each wanted frame, entered by a seek."""
    assert task.fps is not None
    count = -(-clips.duration_s(Path(task.video)) * task.fps // 1)
    command = [str(program), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    for number in range(int(count)):
        command += ["-threads", "1", "-ss", f"{float(number / task.fps):.6f}", "-i", task.video]
    for number in range(int(count)):
        command += ["-map", f"{number}:v:0", "-frames:v", "1", "-q:v", FFMPEG_QUALITY, task.image(number)]
    return command


def module_command(module: str, name: str, task: Task, *, python: Path) -> list[str]:
    """A program of this folder, run by an interpreter that has what it needs."""
    return [str(python), "-m", f"benchmarks.{module}", name, task.to_json()]


@dataclass(frozen=True)
class Contestant:
    """A program that takes part.

    Attributes:
        command: how to start it on a task.
        version: of what does the work, in a few words; asked once.
        tells_frames: whether it says which frames it took.
    """

    name: str
    title: str
    command: Callable[[Task], list[str]]
    version: Callable[[], str]
    keyframes: bool = True
    sparse_only: bool = False
    resizes: bool = True
    tells_frames: bool = True

    def can(self, task: Task) -> bool:
        """Whether the task makes sense for it."""
        if task.fps is None:
            return self.keyframes
        if task.size is not None and not self.resizes:
            return False
        return not self.sparse_only or task.fps < SEEKING_BELOW_FPS


def contestants(*, torchcodec_python: Path | None) -> dict[str, Contestant]:
    """All that can run here, by name; ``torchcodec_python``: the interpreter that has torchcodec, if any."""
    here = Path(sys.executable)

    def library(name: str, title: str, module: str, python: Path = here, **traits: bool) -> Contestant:
        return Contestant(
            name,
            title,
            lambda task: module_command("peers", name, task, python=python),
            lambda: _asked(python, f"import {module} as m; print(m.__version__)"),
            **traits,
        )

    found = [
        Contestant(
            OURS,
            "Framefleet",
            lambda task: module_command("ours", OURS, task, python=here),
            lambda: _described("git", "-C", str(REPOSITORY), "rev-parse", "--short=10", "HEAD"),
        ),
        Contestant(
            FLOOR,
            "floor: decode + convert + encode alone",
            lambda task: module_command("floor", FLOOR, task, python=here),
            lambda: "",
            tells_frames=False,
        ),
    ]
    for threads in (False, True):
        found.append(
            Contestant(
                "ffmpeg-threads" if threads else "ffmpeg",
                "ffmpeg, its own choice of threads" if threads else "ffmpeg, one thread",
                lambda task, threads=threads: ffmpeg_command(  # type: ignore[misc]
                    task, program=clips.ffmpeg(), threads=threads
                ),
                lambda: _described(str(clips.ffmpeg()), "-version"),
                tells_frames=False,
            )
        )
    found += [
        Contestant(
            "ffmpeg-seek",
            "ffmpeg, a seek for each frame",
            lambda task: ffmpeg_seek_command(task, program=clips.ffmpeg()),
            lambda: _described(str(clips.ffmpeg()), "-version"),
            keyframes=False,
            sparse_only=True,
            resizes=False,
            tells_frames=False,
        ),
        library("opencv-read", "OpenCV read()", "cv2", keyframes=False),
        library("opencv-grab", "OpenCV grab()/retrieve()", "cv2", keyframes=False),
        library("opencv-seek", "OpenCV set(POS_FRAMES)", "cv2", keyframes=False, sparse_only=True),
        library("pyav", "PyAV, all frames", "av"),
        library("decord", "decord get_batch()", "decord"),
    ]
    if torchcodec_python is not None:
        found.append(
            library("torchcodec", "torchcodec get_frames_played_at()", "torchcodec", torchcodec_python)
        )
    return {contestant.name: contestant for contestant in found}


def environment() -> dict[str, str]:
    """What a contestant's process sees: this one's environment, the repository, and no threads of its own."""
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _asked(python: Path, program: str) -> str:
    return _described(str(python), "-c", program)


def _described(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    words = done.stdout.split("\n")[0]
    return words.removeprefix("ffmpeg version ").split(" Copyright")[0] if not done.returncode else "absent"
