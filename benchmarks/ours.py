"""This project's extraction of one whole video in one unit, as a slot does it: probe, open, extract."""

from __future__ import annotations

import json
import sys
import time
from fractions import Fraction
from pathlib import Path

from benchmarks.task import QUALITY, Task, from_json
from framefleet.common.job.image_options import ImageOptions
from framefleet.common.job.sampling import Sampling
from framefleet.worker.extraction.extract import extract
from framefleet.worker.video.open_video import OpenVideo
from framefleet.worker.video.probe import probe


def sampling_of(task: Task) -> Sampling:
    """The task's sampling in the project's terms."""
    return Sampling(keyframes_only=True) if task.fps is None else Sampling(task.fps)


def image_of(task: Task) -> ImageOptions:
    """The task's images in the project's terms."""
    resize = f"short:{task.short}" if task.short else None
    if task.lossless:
        return ImageOptions(format="png", resize=resize)
    return ImageOptions(quality=QUALITY, resize=resize)


def run(task: Task) -> list[float]:
    """Do the task; gives the times of the frames written, in seconds after the first frame."""
    return timed(task)[0]


def timed(task: Task) -> tuple[list[float], float]:
    """``run``, and the CPU seconds that probing took."""
    begun = time.process_time()
    info = probe(Path(task.video))
    probe_s = time.process_time() - begun
    with OpenVideo(task.video) as video:
        result = extract(
            video,
            info.first_pts,
            sampling_of(task),
            0,
            None,
            image=image_of(task),
            folder=Path(task.folder),
            checkpoint=lambda done_to, frames: None,
            duration_s=info.duration_s,
        )
    suspect = [row.sample for row in result.rows if row.status != "ok"]
    if suspect or result.errors:
        raise RuntimeError(f"{task.video}: {result.errors} errors, suspect samples {suspect[:9]}")
    # other contestants number what they write; a rate's samples are these numbers too, since no clip has
    # fewer frames than samples
    assert [row.sample for row in result.rows] == list(range(len(result.rows)))
    taken_s = [float((row.pts - info.first_pts) * Fraction(row.time_base)) for row in result.rows]
    return taken_s, probe_s


if __name__ == "__main__":
    start_s = time.process_time()
    taken_s, probe_s = timed(from_json(sys.argv[2]))
    print(json.dumps({"taken_s": taken_s, "start_s": start_s, "costs": {"probe_s": probe_s}}))
