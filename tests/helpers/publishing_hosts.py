"""A host's publishing, for tests: staged files, the rows that come of them, a process that is killed at it.

``python -m tests.helpers.publishing_hosts ROOT UNIT OPTIONS`` publishes units without end, from that number
on.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.media import FrameRow
from framefleet.common.output.shard_fields import PackOptions
from framefleet.worker.extraction.image_sink import BundleSink, LooseSink
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.jobs import REPOSITORY, rows


def stage(
    layout: Layout,
    unit: int,
    attempt: int,
    samples: range,
    salt: str = "",
    *,
    dropped: Collection[int] = (),
    bundled: bool = False,
) -> list[FrameRow]:
    """Staged files as a slot leaves them; there are none of the samples that were dropped."""
    folder = layout.staging / f"{unit}-{attempt}"
    folder.mkdir(parents=True)
    sink = BundleSink(folder) if bundled else LooseSink(folder)
    rows = []
    for sample in samples:
        data = b"" if sample in dropped else f"{sample}{salt}".encode()
        name = f"{sample:08d}.jpg" if data else ""
        sha256, place = sink.add(name, data) if data else ("", None)
        rows.append(
            FrameRow(
                sample=sample, target_s=sample / 5, pts=sample * 200, time_base="1/1000", time_s=sample / 5,
                keyframe=sample % 10 == 0, pix_fmt="yuv420p", width=4, height=2, rotation=0,
                interlaced=False,
                file=name, bytes=len(data), sha256=sha256, place=place,
                status="ok" if data else "duplicate",
            )
        )  # fmt: skip
    sink.close()
    return rows


def manifest(layout: Layout) -> list[dict[str, Any]]:
    """All rows that have been published."""
    return list(rows(layout.output))


def publish_for_ever(layout: Layout, unit: int, pack: PackOptions | None) -> None:
    """Units of ten samples, some or all of them dropped; some units are discarded. Prints their numbers."""
    publisher = Publisher(layout, "algo-1", pack=pack)
    while True:
        samples = range(unit * 10, unit * 10 + 10)
        dropped = {samples[3], samples[9]} if unit % 3 else samples
        staged = stage(layout, unit, 1, samples, dropped=dropped, bundled=pack is not None)
        publisher.add(unit, 1, "v.mp4", "v", staged, 0)
        if unit % 7 == 0:
            publisher.discard(unit - 3, 1)
        publisher.flush()
        unit += 1
        print(unit, flush=True)


def kill_while_publishing(
    layout: Layout, unit: int, chance: random.Random, pack: PackOptions | None = None
) -> None:
    """Let another process publish units, from this number on, and kill it at a moment that nobody chose."""
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.helpers.publishing_hosts",
            layout.root,
            str(unit),
            msgspec.json.encode(pack),
        ],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert child.stdout is not None
    with child.stdout:
        for _ in range(chance.randrange(8, 30)):
            assert child.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=chance.random() * 0.02)
        child.kill()
        child.wait()


if __name__ == "__main__":
    root, first, options = sys.argv[1:]
    publish_for_ever(Layout(Path(root)), int(first), msgspec.json.decode(options, type=PackOptions | None))
