"""What becomes of attempts that came to nothing: another try, or a line among the failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framefleet.common.job.spec import Mode
from framefleet.common.protocol import messages as m
from framefleet.common.status import Failure, FailureKind, nothing_made
from framefleet.coordinator.core.leases import Leases
from framefleet.coordinator.core.roster import Roster
from framefleet.coordinator.events import Action, Record
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import Host, Unit, Video

MAX_ERRORS = 2  # one retry elsewhere
# where no host is expected that has not failed at it: that it cannot write, or read, or finds another video
# than all others, is the host's fault
HOSTS_OWN = frozenset({"output", "read", "absent", "contradiction"})
OF_ALL_RANGES = frozenset({"input", "list", "absent"})  # the other ranges of the file would only say so again
MAX_HOSTS_ERRORS = 4
MAX_CRASHES = 3  # Dask 3, Ray 3, Spark 4, HyperQueue 5
MAX_POISONED = 8  # parts of a video that crash what decodes them; then the rest of it is not tried


class Failures:
    """Counts attempts that failed, and keeps the failures that are final."""

    def __init__(
        self,
        pool: Pool,
        leases: Leases,
        roster: Roster,
        problems: Sequence[Failure],
        *,
        emit: Callable[[Action], None],
    ) -> None:
        self._pool = pool
        self._leases = leases
        self._roster = roster
        self._emit = emit
        self._unreadable: set[int] = set()
        self.failures: list[Failure] = list(problems)
        self.retries = 0

    def nothing_made(self, frames: int, mode: Mode) -> str:
        """Why a job that is done with all has made no frame; of a sharded job only the launcher knows."""
        if frames or mode == "sharded":
            return ""
        return nothing_made(len(self._pool.videos), len({failure.video for failure in self.failures}))

    def attempt_failed(self, host: Host, unit: Unit, failed: m.Failed) -> bool:
        """Hand the unit out again, or give it up: then the answer is True.

        Crashes are counted apart from exceptions: a unit that goes on crashing is divided until the GOP that
        does it is alone. A batch of probes is tried again file by file. Nothing is given up on the word of
        one host while another is expected.
        """
        unit.avoid |= {host.name}
        if unit.copy_of is not None:
            self._pool.units[unit.copy_of].avoid |= {host.name}
            self._leases.drop(unit)
            return False
        if unit.is_probe and len(unit.files) > 1:
            self._pool.split_probe(unit)
            self._leases.give_up(unit)
            return False
        if failed.kind == "list":  # the hosts that agree with the list have the same short copy
            self.give_up(unit, kind="input", reason=failed.text, whole=True)
            return True
        is_hosts_own, others = failed.kind in HOSTS_OWN, self._roster.expects(unit.avoid)
        limit = MAX_HOSTS_ERRORS if is_hosts_own else MAX_ERRORS
        if failed.kind == "crash":
            unit.crashes += 1
        elif not (is_hosts_own and others):
            unit.errors += 1
        if unit.copy is not None:  # it is tried elsewhere already
            self._leases.release(unit)
            return False
        is_spent = unit.crashes >= MAX_CRASHES or unit.errors >= limit
        if others and is_hosts_own:
            unit.for_others = not self._roster.has_sound(unit.avoid)
        elif others and is_spent and len(unit.avoid) == 1 and not unit.isolating:
            unit.for_others = True
            is_spent = False
        if not is_spent:
            self.retries += 1
            self._leases.release(unit)
            return False
        if failed.kind == "crash" and (self._divide(unit) or self._put_off(unit, host)):
            return False
        kind: FailureKind = "input" if failed.kind == "input" else "lost"
        self.give_up(unit, kind=kind, reason=failed.text, whole=failed.kind in OF_ALL_RANGES)
        return True

    def _divide(self, unit: Unit) -> bool:
        """Cut a unit that crashes its slots in halves, each to be tried alone; False if it is one GOP."""
        if unit.is_probe or not self._pool.can_split(unit):
            return False
        video = self._pool.videos[unit.video]
        assert video.info is not None
        if video.poisoned >= MAX_POISONED:
            return False
        sampling = self._pool.workload.sampling_of(video)
        middle = policy.middle_position(video.info, sampling, start=unit.start, stop=unit.stop)
        if middle is None:
            return False
        unit.isolating, unit.crashes = True, MAX_CRASHES - 1
        unit.avoid, unit.for_others = frozenset(), False
        self._leases.release(unit)
        self._pool.split(unit, middle)
        return True

    def _put_off(self, unit: Unit, host: Host) -> bool:
        """Leave a GOP that crashes its slots for the end, and try it once more then, elsewhere than on the
        last ``host`` if there is an elsewhere; False if it was.

        Slots are killed from outside too, by a system that is short of memory before all, and may be so again
        and again while they do the same unit; that is over at some time, and a poison GOP crashes them again.
        """
        video = self._pool.videos[unit.video]
        if unit.is_probe or unit.last_try or video.poisoned >= MAX_POISONED:
            return False
        unit.last_try, unit.avoid = True, frozenset({host.name})
        if unit.isolating:
            video.poisoned += 1
        self._leases.release(unit)
        self._check_poison(unit.video)
        return True

    def _check_poison(self, index: int) -> None:
        video = self._pool.videos[index]
        if video.poisoned >= MAX_POISONED and not video.all_cut:
            self._quarantine_rest(index, video)

    def give_up(self, unit: Unit, *, kind: FailureKind, reason: str, whole: bool = False) -> None:
        """The unit's frames will not be had by this job; ``whole``: nor those of the video behind it."""
        self._leases.give_up(unit)
        if unit.is_probe:
            for index in unit.files:
                self.refuse(index, kind=kind, reason=reason, attempts=unit.attempt)
            return
        video = self._pool.videos[unit.video]
        assert video.info is not None
        video.failed = True
        if unit.isolating and not unit.last_try:
            video.poisoned += 1
        seconds_of, time_base = self._pool.workload.sampling_of(video).seconds_of, video.info.time_base
        stop_s = None if unit.stop is None else seconds_of(unit.stop, time_base)
        if whole:
            self._pool.stop_cutting(video)
            if unit.video in self._unreadable:
                return
            self._unreadable.add(unit.video)
            stop_s = None
        self._add(
            unit.video,
            kind=kind,
            reason=reason,
            attempts=unit.attempt,
            start_s=seconds_of(unit.start, time_base),
            stop_s=stop_s,
        )
        self._check_poison(unit.video)

    def _quarantine_rest(self, index: int, video: Video) -> None:
        """So much of a file crashes its decoder that what nobody has begun is not begun."""
        assert video.info is not None
        start_s = self._pool.workload.sampling_of(video).seconds_of(video.next_start, video.info.time_base)
        self._pool.stop_cutting(video)
        reason = f"{video.poisoned} parts of it crashed what decoded them: the rest was not tried"
        self._add(index, kind="lost", reason=reason, attempts=0, start_s=start_s)

    def refused(self, host: Host, unit: Unit, files: Sequence[tuple[int, str]]) -> None:
        """A host cannot read ``files`` (indices, and why): its own copies may be at fault, or its disk, so
        another one is to confirm it while one is expected, and else the same with a second look."""
        if not files:
            return
        is_own_word = unit.refused_by == host.name and self._roster.expects({host.name})
        if unit.refused_by is None or is_own_word:
            self._pool.confirm([index for index, _ in files], host.name)
            return
        for index, reason in files:
            kind: FailureKind = "lost" if self._pool.earlier.has_part_of(index) else "input"
            self.refuse(index, kind=kind, reason=reason, attempts=2)

    def refuse(self, index: int, *, kind: FailureKind, reason: str, attempts: int = 1) -> None:
        """Nothing will come of this video."""
        self._pool.refuse(index)
        self._add(index, kind=kind, reason=reason, attempts=attempts)

    def forget(self, index: int) -> None:
        """A video is begun anew: what was given up of it may be had after all."""
        name = self._pool.videos[index].listed.name
        self.failures = [failure for failure in self.failures if failure.video != name]
        self._unreadable.discard(index)

    def _add(
        self,
        index: int,
        *,
        kind: FailureKind,
        reason: str,
        attempts: int,
        start_s: float | None = None,
        stop_s: float | None = None,
    ) -> None:
        name = self._pool.videos[index].listed.name
        failure = Failure(
            video=name, kind=kind, reason=reason, attempts=attempts, start_s=start_s, stop_s=stop_s
        )
        self.failures.append(failure)
        entry = {"video": name, "kind": kind, "reason": reason, "start_s": start_s, "stop_s": stop_s}
        self._emit(Record(entry={"event": "given_up", **entry}))
