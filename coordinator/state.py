"""What the coordinator knows: videos, units and hosts, and how a unit's state may change.

Theory of operation. A unit is in exactly one state; all changes go through ``Unit.move`` and the table
below, which is the only place that says what may follow what. Whether a message is too old to count
(another host, another attempt) is decided before, by ``Unit.held_by``; so an illegal move is a bug in
the coordinator, raised as ``IllegalMoveError`` with the unit's story, and it changes nothing.

Units and videos are structs of msgspec, as there may be a million of each: made several times as fast as
dataclasses, and (they hold no cycles) unknown to the garbage collector, which spares its time and 16 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

import msgspec

from framefleet.common.media import VideoInfo
from framefleet.common.protocol.messages import Done, Hello, Lease
from framefleet.common.status import HostState
from framefleet.coordinator.agreement import Agreement
from framefleet.coordinator.listed_video import ListedVideo

SLOW = 2.0  # a host this many times slower than the fastest gets only what it can finish in time


class UnitState(Enum):
    PENDING = "pending"
    """Waits to be handed out (again)."""
    LEASED = "leased"
    """A host works on it."""
    STAGED = "staged"
    """The host has all its frames, outside the output; it waits for the word to publish."""
    COMMITTING = "committing"
    """The word was given; the host has not yet said that everything is on its disk."""
    DONE = "done"
    """Published for good."""
    VOID = "void"
    """Published, and taken back: its video is not what it was taken for, or has changed."""
    FAILED = "failed"
    """Given up, with a reason in the failures."""
    DROPPED = "dropped"
    """Not wanted after all: the video has as many frames as the job asks for, or is begun anew."""

    __hash__ = object.__hash__  # Enum's own is a Python function, and each move asks for it


_S = UnitState
TRANSITIONS: dict[tuple[UnitState, str], UnitState] = {
    (_S.PENDING, "lease"): _S.LEASED,
    (_S.LEASED, "done"): _S.STAGED,
    (_S.STAGED, "commit"): _S.COMMITTING,
    (_S.COMMITTING, "committed"): _S.DONE,
    # a probe has nothing to publish
    (_S.LEASED, "answered"): _S.DONE,
    # an earlier run of the job has done it
    (_S.PENDING, "taken_over"): _S.DONE,
    # the attempt came to nothing (an exception, a crash, a lost host): the unit is handed out again
    (_S.LEASED, "release"): _S.PENDING,
    (_S.STAGED, "release"): _S.PENDING,
    (_S.COMMITTING, "release"): _S.PENDING,
    (_S.DONE, "void"): _S.VOID,
    (_S.PENDING, "give_up"): _S.FAILED,
    (_S.PENDING, "drop"): _S.DROPPED,
}

HELD = frozenset({_S.LEASED, _S.STAGED, _S.COMMITTING})
OPEN = HELD | {_S.PENDING}


class IllegalMoveError(Exception):
    """A move that ``TRANSITIONS`` does not list."""


class Unit(msgspec.Struct, kw_only=True, gc=False):
    """A piece of work: a range of one video's positions, or a batch of files to probe."""

    id: int
    video: int
    """Index of the video; of a probe's first one."""
    batch: tuple[int, ...] | None = None
    """The videos of a probe; None for an extraction."""
    start: int = 0
    stop: int | None = None
    work_px: float = 0.0
    """Estimated work, in pixels (see ``policy``)."""
    lead_px: float = 0.0
    """The same of its roll-in: it begins within a GOP."""
    state: UnitState = UnitState.PENDING
    attempt: int = 0
    host: str | None = None
    changed_at: float = 0.0
    """When it was leased, or last told to commit; on the caller's clock."""
    errors: int = 0
    crashes: int = 0
    avoid: frozenset[str] = frozenset()
    """Hosts on which an attempt failed; another host is tried first."""
    done: Done | None = None
    rank: int = 0
    """Its first frame's rank, as its present attempt was told (see ``numbering``)."""
    counted: int | None = None
    """Frames that it counts for, by its latest complete attempt; None before."""
    before: int | None = None
    """The same of all units of the video before it, once that is known."""
    first_sample: int | None = None
    """Its first frame's number, once it is known."""
    progress_frames: int = 0
    done_to: int = 0
    """Everything below this position is done, as its host told at ``progress_at``."""
    busy_s: float = 0.0
    """The time that this took its slot; 0 before the first report."""
    progress_at: float = 0.0
    shrink_at: float | None = None
    """When it was last asked to end earlier, and has not answered."""
    unsplittable: bool = False
    """It was asked to end earlier, and could not."""
    isolating: bool = False
    """A part of a unit that crashed its slots: one more crash is enough to divide it again."""
    copy_of: int | None = None
    """The unit of which this is a hedged copy, which no video counts until it is the first to finish."""
    copy: int | None = None
    """Its hedged copy."""
    last_try: bool = False
    """It has crashed its slots so often that it is tried once more only when nothing else is left."""
    refused_by: str | None = None
    """Of a probe: the host that could read none of its files, which another one is asked to confirm."""
    for_others: bool = False
    """It would be given up on the word of the hosts in ``avoid``: it waits for another as long as one is
    expected."""

    @property
    def is_probe(self) -> bool:
        return self.batch is not None

    @property
    def is_doubtful(self) -> bool:
        """Whether it waits until nothing else is left."""
        return self.last_try or self.for_others or self.refused_by is not None

    @property
    def files(self) -> tuple[int, ...]:
        """Indices of videos: several for a probe, one for an extraction."""
        return (self.video,) if self.batch is None else self.batch

    @property
    def lease(self) -> Lease:
        return Lease(self.id, self.attempt)

    def held_by(self, host: str, attempt: int) -> bool:
        """Whether this is the attempt that counts: everything else is fenced."""
        return self.state in HELD and self.host == host and self.attempt == attempt

    def forget(self) -> None:
        """It is DONE, and there may be a million such: keep who did it and what it counts for."""
        self.done = None
        self.work_px = self.lead_px = self.changed_at = self.busy_s = self.progress_at = 0.0

    def move(self, event: str) -> None:
        """Change the state as ``TRANSITIONS`` says, or raise ``IllegalMoveError`` and change nothing."""
        after = TRANSITIONS.get((self.state, event))
        if after is None:
            raise IllegalMoveError(
                f"unit {self.id} (attempt {self.attempt}, host {self.host}): {event} when {self.state.value}"
            )
        self.state = after


class Video(msgspec.Struct, kw_only=True, gc=False):
    """One input file and what is left to hand out of it."""

    listed: ListedVideo
    info: VideoInfo | None = None
    agreement: Agreement | None = None
    """What hosts say that it is, from its first probe until it is settled."""
    refused: bool = False
    start: int = 0
    stop: int | None = None
    """The positions that are wanted of it; None: to its end."""
    next_start: int = 0
    """First position that no unit covers yet."""
    horizon: int | None = None
    """Nothing is cut beyond this position until more is known: enough frames are expected before it."""
    all_cut: bool = False
    """Units cover the video to its end."""
    end_s: float = 0.0
    """Where it is believed to end, in seconds behind its first frame."""
    px_per_s: float = 0.0
    """Work (pixels) in one second of the video."""
    px_per_time: float = 0.0
    """The same for each time of a list."""
    rate: float | None = None
    """Pixels per second measured on this video; None until a unit is done."""
    remaining_px: float = 0.0
    piece_px: float = 0.0
    """Work of the largest piece that cannot be cut: a GOP, or the whole video."""
    units: list[int] = []
    """Extraction units by start."""
    open_units: int = 0
    numbered: int = 0
    """How many of ``units`` have their number; the next one waits for them."""
    counted: int = 0
    """The frames that these count for."""
    frames: int = 0
    """Frames published."""
    failed: bool = False
    saw_end: bool = False
    """Some unit came to the end of the file."""
    poisoned: int = 0
    """Parts of it that were given up because they crash whatever decodes them."""

    @property
    def can_cut(self) -> bool:
        """Whether another unit may be cut of it at this moment."""
        if self.info is None or self.all_cut:
            return False
        return self.horizon is None or self.next_start < self.horizon

    @property
    def settled(self) -> bool:
        """Nothing of it is left to do."""
        return self.refused or (self.all_cut and not self.open_units)

    def unknow(self) -> None:
        """It is as before its probe; whoever says so has taken its units back."""
        fresh = Video(listed=self.listed, agreement=self.agreement)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(fresh, name))

    def forget(self) -> None:
        """It is settled, and there may be a million such: keep what the account at the end needs."""
        self.info = self.rate = self.agreement = None
        self.end_s = self.px_per_s = self.px_per_time = self.remaining_px = self.piece_px = 0.0
        self.units = self.units.copy()  # without the room for more of them


@dataclass(slots=True, kw_only=True)
class Host:
    """One agent, in its present incarnation."""

    name: str
    peer: bytes
    incarnation: str
    slots: int
    capacity: int
    joined_at: float
    last_seen: float
    state: HostState = "up"
    unreachable_since: float | None = None
    challenger: tuple[bytes, Hello] | None = None
    """The latest ``Hello`` in its name from another peer, which waits for this one's end."""
    challenged_at: float = float("-inf")
    held: set[int] = field(default_factory=set)
    """Units in a ``HELD`` state here."""
    running: int = 0
    """Those of them that are LEASED: they occupy slots."""
    taken_back: set[Lease] = field(default_factory=set)
    """What it published and is to discard, as far as it has not answered."""
    video: int | None = None
    """The video it worked on last, and so has open."""
    speed: float = 1.0
    """Measured speed over what the rates predict."""
    faults: int = 0
    """Units in a row that failed here and succeeded elsewhere, or could not be written."""
    outvoted: int = 0
    """How often others found a video to be something else than this host said."""
    drained: str | None = None
    """Why it is given nothing any more."""
    units: int = 0
    frames: int = 0
    busy_s: float = 0.0

    @classmethod
    def joining(cls, hello: Hello, peer: bytes, before: Host | None, now: float) -> Host:
        """A host that says ``Hello``; what it did ``before`` it was started again stays on its account."""
        host = cls(
            name=hello.host,
            peer=peer,
            incarnation=hello.incarnation,
            slots=hello.slots,
            capacity=0,
            joined_at=now,
            last_seen=now,
        )
        if before is not None:
            host.units, host.frames, host.busy_s = before.units, before.frames, before.busy_s
            host.joined_at = before.joined_at
        return host

    def learn_speed(self, observed: float | None) -> None:
        """Take a measured speed into account, if there is one."""
        if observed is not None:
            low, high = SPEED_BOUNDS
            self.speed = min(high, max(low, ewma(self.speed, observed)))

    @property
    def is_awaited(self) -> bool:
        """Whether it was there when the coordinator was started again, and has not been heard since."""
        return self.state == "up" and not self.peer

    @property
    def is_sound(self) -> bool:
        """Whether it may be given anything."""
        return self.state == "up" and self.drained is None

    @property
    def credit(self) -> int:
        """How many more units it may be given."""
        return self.capacity - self.running if self.is_sound else 0


@dataclass(frozen=True, slots=True)
class Strength:
    """The hosts that can work, and how strong they are together.

    Attributes:
        live: their names.
        expected: these, and whoever may still come (``Roster.expected``).
        speed: of all their slots together.
        ranked: their speeds and names, the fastest first.
    """

    live: frozenset[str]
    expected: frozenset[str]
    speed: float
    ranked: tuple[tuple[float, str], ...]

    @classmethod
    def of(cls, hosts: Iterable[Host], expected: frozenset[str]) -> Strength:
        """Of those among ``hosts`` that have slots and are not drained."""
        able = [host for host in hosts if host.capacity > 0 and host.drained is None]
        return cls(
            frozenset(host.name for host in able),
            expected,
            sum(host.capacity * host.speed for host in able),
            tuple(sorted(((host.speed, host.name) for host in able), reverse=True)),
        )

    def slowness(self, speed: float, but: frozenset[str] = frozenset()) -> float | None:
        """How many times as fast as a host of this ``speed`` the fastest of the others is, leaving out
        those that are named in ``but``; None if it is not worth waiting for that one."""
        for fastest, name in self.ranked:
            if name not in but:
                return fastest / speed if speed * SLOW < fastest else None
        return None


EWMA_WEIGHT = 0.3  # of the newest observation
SPEED_BOUNDS = (0.1, 4.0)


def ewma(old: float | None, new: float) -> float:
    """Exponentially weighted mean; the first observation counts whole."""
    return new if old is None else old + EWMA_WEIGHT * (new - old)
