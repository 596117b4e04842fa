"""A core brought back to where its journal ends; it knows no socket, clock or file.

The journal holds *facts*: what hosts said that changed the state, and what the core decided by the clock
or by estimates. They are applied in order by the core's own methods, as the process before this one did,
and what follows from them alone (numbers, retries, units given up or done again) follows again; the
journal tells of that too, for its readers, and here it is passed over. Whoever adds a decision that needs
a clock or a host's report of progress adds a fact, and its line to ``_Replay``.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.spec import JobSpec
from framefleet.common.libraries import Libraries
from framefleet.common.media import Fingerprint, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.coordinator.catalogue import ListedVideo
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.core.leases import task_of
from framefleet.coordinator.events import Received
from framefleet.coordinator.state import Host, Unit, UnitState

JOURNAL_VERSION = 2  # grows when an entry changes its meaning, or goes; the first version had no number

Entry = dict[str, Any]

# What follows from other entries. A failure may, too: that of an answer that does not fit its unit.
# When slots came up is told for the report alone.
CONSEQUENCES = frozenset({"given_up", "redone", "promoted", "drained", "ready", "voided"})


def first_entry(
    spec: JobSpec, videos: Sequence[ListedVideo], at: str, clock: tuple[str, float] = ("", 0.0)
) -> Entry:
    """The entry that a journal begins with.

    ``at``: the wall clock's time, in ISO 8601; ``clock``: the machine's own (``journal.read_clock``).
    """
    return {
        "event": "start",
        "version": JOURNAL_VERSION,
        "job": spec.job_id,
        "at": at,
        "clock": clock,
        "videos": len(videos),
        "options": _digest([msgspec.json.encode((spec.sampling, spec.image, spec.mode))]),
        "list": _digest(msgspec.json.encode((video.name, video.size_bytes)) for video in videos),
        **msgspec.structs.asdict(spec.sampling),
    }


def check_first_entry(found: Entry, expected: Entry) -> None:
    """See that a journal is of this job and this input.

    Raises:
        UserError: it is of another one, or of another version of this program.
    """
    if found.get("event") != "start" or found.get("job") != expected["job"]:
        raise UserError(
            f"the journal in the output folder is of job {found.get('job')!r}, not of {expected['job']!r}: "
            "give every job an output folder of its own"
        )
    if found.get("version") != JOURNAL_VERSION:
        raise UserError(
            f"the journal of job {expected['job']!r} has version {found.get('version', 1)}, and this program "
            f"reads {JOURNAL_VERSION}: start the job again with --resume"
        )
    for field, what in (("options", "options"), ("list", "list of files")):
        if found.get(field) != expected[field]:
            raise UserError(
                f"the {what} of job {expected['job']!r} is not that of its journal, so it cannot go on: "
                "start the job again with --resume"
            )


def replay(core: Core, entries: Iterable[Entry], *, now: Callable[[], float]) -> None:
    """Bring a fresh ``core`` to the state in which ``entries`` (those behind the first) leave it.

    What hosts held they hold still, until they say ``Hello`` and what they have, or for the time of a lease
    the end on. ``core.started_at`` must be the time at which the job began, on the clock that ``now`` reads.

    Raises:
        UserError: an entry does not follow from those before it.
    """
    state = _Replay(core)
    for number, entry in enumerate(entries, start=2):
        try:
            state.apply(entry)
        except (AssertionError, LookupError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise UserError(
                f"line {number} of the journal ({entry.get('event')!r}) does not follow from those before it "
                f"({type(error).__name__}: {error}), so the job cannot go on: start it again with --resume"
            ) from error
    state.finish(now())


class _Replay:
    """The core while its journal is applied to it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._pool = core.pool
        self._now = core.started_at
        self._answered: m.Lease | None = None  # by the entry before
        self._ended: Entry | None = None
        self._was_stopped = False
        self._by_event: dict[str, Callable[[Entry], None]] = {
            "libraries": self._libraries,
            "host_unfit": lambda entry: core.members.is_unfit(entry["host"], entry["reason"]),
            "host_up": self._host_up,
            "host_lost": lambda entry: core.members.lose(
                core.hosts[entry["host"]], entry["reason"], self._now
            ),
            "host_overdue": lambda entry: core.members.give_up_waiting(entry["host"]),
            "host_left": self._host_left,
            "leased": self._leased,
            "hedged": self._hedged,
            "resumed": self._resumed,
            "released": lambda entry: core._leases.release(self._attempt(entry)),
            "probed": self._probed,
            "split": self._split,
            "staged": self._staged,
            "failed": self._failed,
            "committed": self._committed,
            "restarted": self._restarted,
            "end": self._end,
        }

    def apply(self, entry: Entry) -> None:
        """Apply one entry, or raise what shows that it does not fit."""
        self._now = self._core.started_at + entry["t_s"]
        if entry["event"] in CONSEQUENCES:
            return
        self._by_event[entry["event"]](entry)
        self._answered = (
            m.Lease(entry["unit"], entry["attempt"]) if entry["event"] in ("probed", "staged") else None
        )
        self._core._flush()

    def finish(self, now: float) -> None:
        """Nobody is connected any more."""
        core = self._core
        core.was_replayed = True
        core.members.peers.clear()
        for host in core.hosts.values():
            host.peer, host.capacity = b"", 0
            host.last_seen, host.unreachable_since = now, None
        if self._was_stopped:
            core.members.roster.expect_all(now)
        if self._ended is not None:
            core._shutdown.conclude(self._ended["outcome"], self._ended["reason"], frozenset(), now)

    # ---- hosts --------------------------------------------------------------------------------------

    def _libraries(self, entry: Entry) -> None:
        self._core.members.libraries = msgspec.convert(entry["libraries"], Libraries)

    def _host_up(self, entry: Entry) -> None:
        hello = m.Hello(
            version=m.PROTOCOL_VERSION,
            host=entry["host"],
            incarnation=entry["incarnation"],
            slots=entry["slots"],
            running=[],
            libraries=self._core.members.libraries,  # another host is not up
        )
        self._core.handle(
            Received(peer=f"{hello.host}/{hello.incarnation}".encode(), message=hello), self._now
        )
        _expect(self._core.hosts[hello.host].incarnation == hello.incarnation, "the host is refused")

    def _host_left(self, entry: Entry) -> None:
        self._say(self._core.hosts[entry["host"]], m.Bye(reason=entry["reason"]))

    def _say(self, host: Host, message: m.FromHost) -> None:
        _expect(self._core.members.peers.get(host.peer) is host, f"host {host.name} is not there")
        self._core.handle(Received(peer=host.peer, message=message), self._now)

    # ---- units --------------------------------------------------------------------------------------

    def _leased(self, entry: Entry) -> None:
        pool, host = self._pool, self._core.hosts[entry["host"]]
        unit = pool.units.get(entry["unit"])
        if unit is not None:
            pool.unqueue(unit)
        elif entry["probe"]:
            unit = pool.probe_next(len(entry["videos"]))
        else:
            unit = pool.cut_at(entry["videos"][0], entry["stop"])
        found = [unit.id, unit.attempt + 1, unit.start, unit.stop, list(unit.files), unit.is_probe]
        told = [entry[name] for name in ("unit", "attempt", "start", "stop", "videos", "probe")]
        _expect(found == told, f"the next is {found}")
        unit.attempt += 1
        self._core._leases.grant(unit, host, self._now)
        task_of(unit, pool)

    def _hedged(self, entry: Entry) -> None:
        copy = self._pool.copy(self._pool.units[entry["unit"]])
        _expect(copy.id == entry["copy"], f"the next is {copy.id}")
        copy.attempt = 1
        self._core._leases.grant(copy, self._core.hosts[entry["host"]], self._now)
        task_of(copy, self._pool)

    def _resumed(self, entry: Entry) -> None:
        unit = self._pool.units[entry["unit"]]
        _expect(
            (unit.host, unit.attempt) == (entry["host"], entry["attempt"]), "another attempt was the last"
        )
        self._pool.unqueue(unit)
        self._core._leases.grant(unit, self._core.hosts[entry["host"]], self._now)

    def _attempt(self, entry: Entry) -> Unit:
        """The unit of an entry, of which that entry's attempt must be held."""
        unit = self._pool.units[entry["unit"]]
        _expect(unit.host is not None and unit.held_by(unit.host, entry["attempt"]), "nobody holds it")
        return unit

    def _host(self, unit: Unit) -> Host:
        assert unit.host is not None
        return self._core.hosts[unit.host]

    def _probed(self, entry: Entry) -> None:
        unit = self._attempt(entry)
        probed = m.Probed(
            lease=unit.lease,
            found=msgspec.convert(entry["found"], list[tuple[int, VideoInfo]]),
            refused=msgspec.convert(entry["refused"], list[tuple[int, str]]),
            seconds=entry["seconds"],
        )
        self._say(self._host(unit), probed)
        _expect(unit.state is UnitState.DONE, "the answer is refused")

    def _split(self, entry: Entry) -> None:
        unit = self._pool.units[entry["unit"]]
        if entry["rest"] not in self._pool.units:  # else it followed from an answer
            self._core._stragglers.drop_copy(unit)
            rest = self._pool.split(unit, entry["stop"])
            _expect(rest.id == entry["rest"], f"the next is {rest.id}")

    def _staged(self, entry: Entry) -> None:
        unit = self._attempt(entry)
        _expect(unit.state is UnitState.LEASED, "it was staged before")
        done = m.Done(
            lease=unit.lease,
            stop=entry.get("stop", unit.stop),
            frames=entry.get("frames", 0),
            suspect=entry.get("suspect", 0),
            bytes=entry.get("bytes", 0),
            decoded=entry.get("decoded", 0),
            errors=0,
            saw_end=entry.get("saw_end", False),
            seconds=entry.get("seconds", 0.0),
            notes=entry.get("notes", []),
            shown=entry.get("shown", 0),
            dropped=entry.get("dropped", 0),
        )
        self._say(self._host(unit), done)

    def _failed(self, entry: Entry) -> None:
        if self._answered == m.Lease(entry["unit"], entry["attempt"]):
            return  # it followed from the answer
        unit = self._attempt(entry)
        failed = m.Failed(
            lease=unit.lease,
            kind=entry["kind"],
            text=entry["reason"],
            seconds=entry["seconds"],
            found=msgspec.convert(entry["found"], Fingerprint | None),
        )
        self._say(self._host(unit), failed)

    def _committed(self, entry: Entry) -> None:
        unit = self._attempt(entry)
        _expect(unit.first_sample == entry["first_sample"], f"its number is {unit.first_sample}")
        video = self._pool.videos[unit.video]
        before = video.frames
        trimmed = m.Trimmed(unit.lease, entry["suspect"], entry["bytes"], entry.get("dropped", 0))
        self._say(self._host(unit), m.Committed(leases=[unit.lease], trimmed=[trimmed]))
        _expect(unit.state is UnitState.DONE, "nobody was told to publish it")
        frames = video.frames - before
        _expect(frames == entry["frames"], f"it has {frames} frames")

    # ---- the job ------------------------------------------------------------------------------------

    def _restarted(self, _entry: Entry) -> None:
        self._core.restarts += 1

    def _end(self, entry: Entry) -> None:
        if entry["outcome"] == "interrupted":  # by a scheduler that starts the hosts again, or by a full disk
            self._was_stopped = True
        else:
            self._ended = entry


def durable(core: Core) -> Entry:
    """What must be the same after a replay: all but connections, times and estimates."""
    pool = core.pool
    unit_fields = (
        "files", "is_probe", "start", "stop", "attempt", "host", "errors", "crashes", "rank", "counted",
        "before", "first_sample", "isolating", "last_try", "refused_by", "for_others", "copy", "copy_of",
    )  # fmt: skip
    video_fields = (
        "info", "refused", "start", "stop", "next_start", "horizon", "all_cut", "units", "open_units",
        "numbered", "counted", "frames", "failed", "poisoned", "saw_end", "agreement",
    )  # fmt: skip
    return {
        "units": {
            unit.id: {
                **{name: getattr(unit, name) for name in unit_fields},
                "state": unit.state.value,
                "avoid": sorted(unit.avoid),
                "frames": unit.done.frames if unit.done is not None else None,
            }
            for unit in pool.units.values()
        },
        "videos": [{name: getattr(video, name) for name in video_fields} for video in pool.videos],
        "queued": list(pool.queued),
        "unprobed": pool.unprobed,
        "unsettled": pool.unsettled,
        "totals": dataclasses.astuple(core.written()),
        "probes_open": pool.probes_open,
        "failures": list(core.failures.failures),
        "retries": core.failures.retries,
        "notes": list(core.notes),
        "replaced": sorted(core.members.replaced),
        "missing": sorted(core.members.roster.missing),
        "libraries": core.members.libraries,
        "unfit": core.members.unfit,
        "hosts": {
            host.name: (
                host.incarnation, host.slots, host.state, sorted(host.held), host.running, host.units,
                host.frames, host.busy_s, host.drained, host.faults, host.outvoted,
            )
            for host in core.hosts.values()
        },
    }  # fmt: skip


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
