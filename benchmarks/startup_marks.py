"""Marks in a host's processes: when each got to which point of its start.

``install`` writes a ``sitecustomize`` module, which every Python process of a host imports before anything
else (forks inherit it). It wraps functions of the product as their modules are loaded, and appends a line to
a file when one begins or ends. The product knows nothing of it; a function that a version does not have
leaves no mark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

MARKS_VARIABLE: Final = "FRAMEFLEET_MARKS"
LAST: Final = "first frame written"

# module, function, label; "before" marks its beginning, "after" its end; a point without a function marks the
# end of the module's loading
POINTS: Final = (
    ("framefleet.common.job.spec", "read_spec", "modules loaded", "before"),
    ("framefleet.common.host.cluster", "read_cluster", "job and cluster read", "after"),
    ("framefleet.worker.coordinator_process", "CoordinatorProcess._start", "coordinator begun", "after"),
    ("framefleet.worker.agent", "Agent.__init__", "connecting", "before"),
    ("framefleet.worker.agent", "Agent.__init__", "slots begun", "after"),
    ("framefleet.worker.agent", "Agent._say_hello", "Hello said", "after"),
    ("framefleet.worker.agent", "Agent._say_ready", "Welcome heard", "before"),
    ("framefleet.worker.agent", "Agent._assigned", "work assigned", "before"),
    ("framefleet.coordinator.catalogue", "list_videos", "listening", "before"),
    ("framefleet.coordinator.catalogue", "list_videos", "listed", "after"),
    ("framefleet.coordinator.server", "Server.run", "serving", "before"),
    ("framefleet.worker.slots.slot_main", "", "libraries loaded", "after"),
    ("framefleet.worker.slots.slot_main", "run_slot", "forked", "before"),
    ("framefleet.worker.slots.slot_main", "Slot.run", "up", "before"),
    ("framefleet.worker.slots.slot_main", "Slot._probe", "probing", "before"),
    ("framefleet.worker.slots.slot_main", "Slot._probe", "probed", "after"),
    ("framefleet.worker.slots.slot_main", "Slot._extract", "extracting", "before"),
    ("framefleet.worker.video.open_video", "OpenVideo.__init__", "file opened", "after"),
    ("framefleet.worker.picture.render", "render", "first wanted frame decoded", "before"),
    ("framefleet.worker.picture.render", "encode", "rendered", "before"),
    ("framefleet.worker.picture.render", "write", "encoded", "before"),
    ("framefleet.worker.picture.render", "write", LAST, "after"),
)

_SITECUSTOMIZE: Final = """
import os, sys, time
_START, _PID = time.monotonic(), os.getpid()
with open("/proc/self/cmdline", "rb") as file:
    _TEXT = file.read()
_ROLES = {
    b"\\0framefleet.coordinator\\0": "coordinator",
    b"\\0framefleet.worker\\0": "agent",
    b"forkserver": "libraries",
}
_ROLE = next((role for word, role in _ROLES.items() if word in _TEXT), "other")
_FD = os.open(os.environ["FRAMEFLEET_MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_SEEN = set()
_POINTS = {}
for _module, _name, _label, _when in POINTS:
    _POINTS.setdefault(_module, []).append((_name, _label, _when))


def _mark(label, at=None):
    key = os.getpid(), label
    if key not in _SEEN:
        _SEEN.add(key)
        role = _ROLE if key[0] == _PID else "slot"
        line = "%.6f %.6f %d %s %s\\n" % (at or time.monotonic(), time.process_time(), key[0], role, label)
        os.write(_FD, line.encode())


def _wrapped(function, label, when):
    def call(*args, **kwargs):
        if when == "before":
            _mark(label)
        try:
            return function(*args, **kwargs)
        finally:
            if when == "after":
                _mark(label)
    return call


def _wrap(module, points):
    for name, label, when in points:
        if not name:
            _mark(label)
            continue
        *path, last = name.split(".")
        owner = module
        for part in path:
            owner = getattr(owner, part, None)
        function = getattr(owner, last, None)
        if function is not None:
            setattr(owner, last, _wrapped(function, label, when))


class _Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in _POINTS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                points, load = _POINTS.pop(name), spec.loader.exec_module
                def exec_module(module):
                    load(module)
                    _wrap(module, points)
                spec.loader.exec_module = exec_module
                return spec


sys.meta_path.insert(0, _Finder())
_mark("interpreter", _START)
"""


class Mark(msgspec.Struct, frozen=True):
    """A point that a process has reached, on the machine's monotonic clock (seconds), and the CPU seconds
    that it has used until then. ``role``: agent, coordinator, libraries (the process that slots are forked
    from), slot, or other."""

    at: float
    cpu_s: float
    pid: int
    role: str
    label: str


def install(folder: Path) -> None:
    """Write the module into ``folder``, which is to come first in PYTHONPATH."""
    (folder / "sitecustomize.py").write_text(f"POINTS = {POINTS!r}\n{_SITECUSTOMIZE}")


def read(path: Path) -> list[Mark]:
    """The marks so far, in their order."""
    if not path.exists():
        return []
    *lines, _ = path.read_text().split("\n")  # the last one may be half written
    marks = []
    for line in lines:
        at, cpu_s, pid, role, label = line.split(" ", 4)
        marks.append(Mark(float(at), float(cpu_s), int(pid), role, label))
    return sorted(marks, key=lambda mark: mark.at)
