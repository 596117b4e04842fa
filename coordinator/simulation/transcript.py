"""What a core was told, and when: as text that can be pasted into a test, and told to another core.

The text is Python: ``NAMES`` holds all that it refers to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from framefleet.common import media
from framefleet.common import status as report
from framefleet.common.job import image_options as imaging
from framefleet.common.job import spec
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec
from framefleet.common.protocol import messages
from framefleet.common.status import Failure
from framefleet.coordinator import events
from framefleet.coordinator import listed_video as listing
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.core.invariants import Watch
from framefleet.coordinator.events import Event
from framefleet.coordinator.listed_video import ListedVideo

SCHEDULE = "schedule"
Step = tuple[float, Event | str]
MakeCore = Callable[..., Core]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a core is made of."""

    spec: JobSpec
    videos: list[ListedVideo]
    expected: list[str]
    timestamps: bytes = b""
    ranges: bytes = b""
    problems: list[Failure] = field(default_factory=list)

    def selection(self) -> Selection:
        return Selection(self.spec.sampling, timestamps=self.timestamps, ranges=self.ranges)

    def core(self, make: MakeCore = Core, *, now: float = 0.0) -> Core:
        """A core for this job, of class ``make``."""
        return make(
            self.spec,
            selection=self.selection(),
            videos=self.videos,
            problems=self.problems,
            expected=self.expected,
            now=now,
        )


@dataclass(frozen=True, slots=True)
class Transcript:
    """A job, and what happened to its core: (seconds, an event or ``SCHEDULE``), in order."""

    job: Job
    steps: list[Step]

    def source(self) -> str:
        """As a Python expression."""
        lines = "".join(f"        {step!r},\n" for step in self.steps)
        return f"Transcript(\n    {self.job!r},\n    [\n{lines}    ],\n)"


def read(source: str) -> Transcript:
    """What ``Transcript.source`` gave; only for text that one's own tests hold, as it is evaluated."""
    transcript = eval(source, dict(NAMES))
    assert isinstance(transcript, Transcript)
    return transcript


def replay(transcript: Transcript, make: MakeCore = Core) -> Core:
    """Tell it all to a new core, looking after every step whether the invariants hold."""
    core = transcript.job.core(make)
    watch = Watch(core)
    for now, what in transcript.steps:
        tell(core, what, now)
        watch.look()
    return core


def tell(core: Core, what: Event | str, now: float) -> list[events.Action]:
    """One step."""
    return core.schedule(now) if isinstance(what, str) else core.handle(what, now)


def shorten(transcript: Transcript, fails: Callable[[Transcript], bool], *, tries: int = 400) -> Transcript:
    """Leave out steps as long as it still ``fails``: halves first, then smaller parts.

    At most so many ``tries``; what comes out fails, or is what came in.
    """
    if not fails(transcript):
        return transcript
    steps, part = transcript.steps, max(1, len(transcript.steps) // 2)
    while tries > 0:
        place = 0
        while place < len(steps) and tries > 0:
            tries -= 1
            fewer = steps[:place] + steps[place + part :]
            if fails(Transcript(transcript.job, fewer)):
                steps = fewer
            else:
                place += part
        if part == 1:
            break
        part //= 2
    return Transcript(transcript.job, steps)


NAMES: dict[str, Any] = {
    name: value
    for module in (imaging, media, messages, report, spec, listing, events)
    for name, value in vars(module).items()
    if isinstance(value, type)
} | {"Job": Job, "Transcript": Transcript}
