"""What the parts of the dispatch benchmark tell each other."""

from __future__ import annotations

import msgspec


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Simulated hosts. ``coordinator``, ``parent``: process ids; ``hold_s``: how long a unit takes.

    ``spec``: the path of the job specification, which holds the keys.
    """

    endpoint: str
    spec: str
    hosts: int
    slots: int
    units: int
    units_per_video: int
    hold_s: float
    coordinator: int
    parent: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet measured while the job ran evenly.

    ``latency_s``: percentiles of the time from the ``Done`` that frees a slot to the ``Assign`` that
    fills it.
    """

    units: int
    seconds: float
    is_paced: bool
    coordinator_cpu_s: float
    coordinator_io_s: float
    """The part of that which libzmq's own thread takes: encryption and the sockets."""
    fleet_cpu_s: float
    latency_s: list[float]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A job of very many videos: what listing them and doing all of their units took."""

    videos: int
    units: int
    list_s: float
    list_cpu_s: float
    list_peak_bytes: int
    job_s: float
    job_cpu_s: float
    peak_bytes: int
    journal_bytes: int


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the coordinator's work, and its share of the Python thread's time (0 to 1)."""

    part: str
    share: float


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One round of another system."""

    per_s: float
    version: str


class Results(msgspec.Struct, kw_only=True):
    """Everything that one run of the benchmark measured, by setting and by peer, one entry a round."""

    machine: str
    date: str
    rounds: int
    tasks: int
    ours: dict[str, list[Told]] = {}
    peers: dict[str, list[Peer]] = {}
    missing: dict[str, str] = {}
    """Why a peer was not measured."""
    listed: Listed | None = None
    profile: list[Share] = []
    """Of the setting with the most hosts at full speed."""
