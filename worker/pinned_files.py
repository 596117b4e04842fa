"""The files that a host's slots have opened, as each was when the first of them did.

Slots are processes that come and go, and one may open a file long after another. So the agent remembers, and
compares what they saw before the coordinator hears of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from framefleet.common.protocol import messages as m
from framefleet.worker.slots.slot_messages import Broken, Looked
from framefleet.worker.video.file_stamp import CHANGED, Stamp

MAX_PINS: Final = 50_000  # files, the latest: what a host works on it opens again and again


class Pins:
    """The stamps of files, by their path below the input."""

    def __init__(self, most: int = MAX_PINS) -> None:
        self._most = most
        self._stamps: OrderedDict[bytes, Stamp] = OrderedDict()

    def is_first(self, path: bytes, stamp: Stamp) -> bool:
        """Whether a file is as it was when it was seen first, which may be now."""
        found = self._stamps.setdefault(path, stamp)
        self._stamps.move_to_end(path)
        if len(self._stamps) > self._most:
            self._stamps.popitem(last=False)
        return found == stamp

    def compared(self, task: m.Probe | m.Extract, message: Looked | Broken) -> m.Probed | m.Failed:
        """What a slot answers, but for files that have changed since this host opened them first."""
        if isinstance(message, Broken):
            failed, stamp = message.failed, message.stamp
            is_first = stamp is None or isinstance(task, m.Probe) or self.is_first(task.path, stamp)
            changed = {"kind": "changed", "text": CHANGED, "found": None}
            return failed if is_first else msgspec.structs.replace(failed, **changed)
        assert isinstance(task, m.Probe)
        probed, paths = message.probed, {index: path for index, path, _ in task.files}
        others = {
            index
            for (index, _), stamp in zip(probed.found, message.stamps, strict=True)
            if not self.is_first(paths[index], stamp)
        }
        if not others:
            return probed
        return msgspec.structs.replace(
            probed,
            found=[(index, info) for index, info in probed.found if index not in others],
            refused=[*probed.refused, *((index, CHANGED) for index in sorted(others))],
        )
