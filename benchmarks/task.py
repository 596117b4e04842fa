"""What a contestant is told to do: one video, one way of sampling, one core, images into a folder.

Every contestant is a process of its own: ``python -m benchmarks.<module> <name> <task as JSON>``. It writes
the images ``00000000.jpg`` and so on, and a line of JSON on standard output: the times of its frames
(``taken_s``) and the CPU seconds that it had used when the work began, all modules loaded (``start_s``). Only
the standard library is used here, as some contestants live in an environment of their own.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

QUALITY: Final = 95  # of JPEG, as our own default is; ffmpeg has a scale of its own


@dataclass(frozen=True)
class Task:
    """One run of one contestant.

    Attributes:
        rate: frames wanted per second, as a fraction; None: the keyframes.
        short: pixels of the shorter side of the images, whose shape stays; None: as they are.
        size: the same as (width, height).
        lossless: PNG instead of JPEG, to compare pixels; only our own program can.
    """

    video: str
    folder: str
    rate: str | None
    short: int | None = None
    size: tuple[int, int] | None = None
    lossless: bool = False

    @property
    def fps(self) -> Fraction | None:
        """``rate`` as a number."""
        return None if self.rate is None else Fraction(self.rate)

    def image(self, number: int) -> str:
        """The path of an image, by the number that it has among those written."""
        return str(Path(self.folder) / f"{number:08d}.{'png' if self.lossless else 'jpg'}")

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def from_json(text: str) -> Task:
    """The task that ``to_json`` wrote."""
    fields = json.loads(text)
    size = fields.pop("size")
    return Task(size=tuple(size) if size else None, **fields)
