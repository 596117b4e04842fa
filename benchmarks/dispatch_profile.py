"""Where the coordinator's time goes while it hands out units: cProfile's own times, by what they are for.

A profiler makes every call of a Python function dearer and leaves native code as it is, so the shares say
what there is to do, and in which parts, but not what a unit costs: that is measured without it.
"""

from __future__ import annotations

import pstats
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from benchmarks.dispatch_job import Setting, run_job
from benchmarks.dispatch_task import Share

# by the end of a file's path, or the beginning of a built-in's name; the first that fits
PARTS: Final = (
    (
        "state of units, hosts and videos",
        *(f"coordinator/core/{name}.py" for name in ("core", "assign", "leases", "commits", "membership")),
        *(f"coordinator/core/{name}.py" for name in ("drain", "failures", "shutdown")),
        *(f"coordinator/{name}.py" for name in ("state", "totals", "scheduling/numbering")),
    ),
    (
        "policy: which unit, how long",
        *(f"coordinator/scheduling/{name}.py" for name in ("pool", "policy", "video_order", "rates")),
        *(f"coordinator/scheduling/{name}.py" for name in ("workload", "queues")),
        *(
            "coordinator/core/stragglers.py",
            "common/job/sampling.py",
            "common/job/selection.py",
            "/fractions.py",
            "/numbers.py",
        ),
    ),
    (
        "messages: MessagePack, validated",
        "common/protocol/messages.py",
        "<method 'encode' of 'msgspec.msgpack",
        "<method 'decode' of 'msgspec.msgpack",
    ),
    (
        "journal: JSON, and writing it",
        "coordinator/journal.py",
        "<method 'encode_lines'",
        "<method 'write'",
        "<built-in method posix.",
    ),
    ("sockets, as Python sees them", "common/protocol/transport.py", "zmq/", "/enum.py"),
    ("the loop", "coordinator/server.py", "coordinator/status/reporter.py", "coordinator/events.py"),
)
WAITING: Final = ("poll",)  # for something to do: no work
STARTING: Final = (
    *("<frozen importlib", "<frozen zipimport", "<built-in method builtins.compile"),
    *("<built-in method marshal.", "<built-in method _imp.", "<built-in method builtins.__build_class__"),
    *("<built-in method posix.stat", "<built-in method io.open_code", "<built-in method builtins.exec"),
)


def profile(setting: Setting, folder: Path) -> list[Share]:
    """Run a job of ``setting`` with a profiler; the shares of each part, the largest first.

    Raises:
        JobError: the job failed.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "profile")
        run_job(setting, folder, profile=path)
        stats: Any = pstats.Stats(str(path))
    return shares({function: numbers[2] for function, numbers in stats.stats.items()})


def shares(own_s: dict[tuple[str, int, str], float]) -> list[Share]:
    """Own seconds by function (file, line, name) as shares by part; waiting and starting are left out."""
    by_part: defaultdict[str, float] = defaultdict(float)
    for (file, _, name), seconds in own_s.items():
        waits = name in WAITING or (name == "wait" and file.endswith("common/protocol/transport.py"))
        if not waits and not f"{file}{name}".removeprefix("~").startswith(STARTING):
            by_part[_part(file, name)] += seconds
    total = sum(by_part.values()) or 1.0
    ranked = sorted(by_part.items(), key=lambda item: -item[1])
    return [Share(part=part, share=seconds / total) for part, seconds in ranked]


def _part(file: str, name: str) -> str:
    for part, *places in PARTS:
        if any(file.endswith(place) or place in file or name.startswith(place) for place in places):
            return part
    return "other built-ins and modules"
