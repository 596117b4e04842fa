"""Running totals of frames, suspects, drops and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self


class Written(Protocol):
    """Anything that tells how much of it there is: a unit's answer, or a video that an earlier run did."""

    @property
    def frames(self) -> int: ...
    @property
    def suspect(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def dropped(self) -> int: ...


@dataclass(slots=True)
class Totals:
    """A sum of what was written: samples (``frames``), those of them that are ``suspect`` or were
    ``dropped`` by choice, and the images' ``bytes``."""

    frames: int = 0
    suspect: int = 0
    bytes: int = 0
    dropped: int = 0

    def add(self, part: Written) -> Self:
        """One part more; the sum itself is returned."""
        self.frames += part.frames
        self.suspect += part.suspect
        self.bytes += part.bytes
        self.dropped += part.dropped
        return self

    def subtract(self, part: Written) -> None:
        """What was a part is none any more."""
        self.frames -= part.frames
        self.suspect -= part.suspect
        self.bytes -= part.bytes
        self.dropped -= part.dropped
