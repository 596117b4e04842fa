"""What an agent and its slot processes say to each other. Nothing heavy is imported here."""

from __future__ import annotations

import msgspec

from framefleet.common.libraries import Libraries
from framefleet.common.media import UnitResult
from framefleet.common.protocol.messages import Assign, Failed, Lease, Probed, Shrink, Shrunk, UnitProgress
from framefleet.worker.video.file_stamp import Stamp


class SlotUp(msgspec.Struct, frozen=True, tag="up"):
    """The process has loaded its libraries, these, and waits for work."""

    libraries: Libraries


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """From the agent: give up this attempt at the next GOP."""

    lease: Lease


class Running(msgspec.Struct, frozen=True, tag="running"):
    """How far the running attempt is."""

    progress: UnitProgress


class Staged(msgspec.Struct, frozen=True, tag="staged"):
    """An extraction is complete up to position ``stop``; its files lie in its staging folder."""

    lease: Lease
    stop: int | None
    result: UnitResult
    stamp: Stamp


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """Files were probed; ``stamps`` are those of what was found, in order."""

    probed: Probed
    stamps: list[Stamp]


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """An attempt failed; ``stamp`` is that of its file, if it has one and is there."""

    failed: Failed
    stamp: Stamp | None


ToSlot = Assign | Cancel | Shrink
FromSlot = SlotUp | Running | Staged | Shrunk | Looked | Broken
