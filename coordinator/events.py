"""What goes into the core and what comes out of it.

Structs of msgspec, as there are several for each unit, and those are made four times as fast as dataclasses.
"""

from __future__ import annotations

from typing import Any

import msgspec

from framefleet.common.protocol.messages import FromCoordinator, FromHost
from framefleet.common.status import Outcome

# ---- events -----------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """A message came from a peer (its routing id)."""

    peer: bytes
    message: FromHost


class Garbled(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes came from a peer that are no message."""

    peer: bytes
    reason: str


class Unreachable(msgspec.Struct, frozen=True, kw_only=True):
    """A message to this peer could not be sent: it is not connected."""

    peer: bytes


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """Time has passed."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants the job to end now."""

    reason: str


Event = Received | Garbled | Unreachable | Tick | Stop

# ---- actions ----------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """Send a message to a peer."""

    peer: bytes
    message: FromCoordinator


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Append an entry to the journal."""

    entry: dict[str, Any]


class Conclude(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing more will be published: put summary and failures on disk. ``End`` is sent after this."""

    outcome: Outcome
    reason: str


class Quit(msgspec.Struct, frozen=True, kw_only=True):
    """Every host has left, or has had its time to: end the process."""


Action = Send | Record | Conclude | Quit
