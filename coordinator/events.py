"""What goes into the core and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.messages import FromCoordinator, FromHost
from common.report import Outcome

# ---- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message came from a peer (its routing id)."""

    peer: bytes
    message: FromHost


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbled:
    """Bytes came from a peer that are no message."""

    peer: bytes
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """A message to this peer could not be sent: it is not connected."""

    peer: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Somebody wants the job to end now."""

    reason: str


Event = Received | Garbled | Unreachable | Tick | Stop

# ---- actions ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send a message to a peer."""

    peer: bytes
    message: FromCoordinator


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Append an entry to the journal."""

    entry: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """Nothing more will be published: put summary and failures on disk. ``End`` is sent after this."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quit:
    """Every host has left, or has had its time to: end the process."""


Action = Send | Record | Conclude | Quit
