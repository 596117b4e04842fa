"""What must hold in the core after every event; tests and the simulator look after each step."""

from __future__ import annotations

from dataclasses import dataclass

from framefleet.coordinator.core.core import Core
from framefleet.coordinator.state import HELD, OPEN, Unit, UnitState, Video

COMPLETE = frozenset({UnitState.STAGED, UnitState.COMMITTING})  # what is done forgets its answer
FINAL = frozenset({UnitState.DONE, UnitState.VOID, UnitState.FAILED, UnitState.DROPPED})


def check_invariants(core: Core) -> None:
    """Raise ``AssertionError`` naming what is broken, if anything is.

    Every position of a video is in exactly one of pending, leased, done and given up: its units tile it
    without gap or overlap up to what is not yet cut, and each unit is in one state. A unit is queued if and
    only if it is pending, and held by exactly the host that it names if and only if it is leased, staged or
    committing; credit is never exceeded, and whoever has some is to be given work; every count agrees with
    what it counts.
    """
    _check_places(core)
    _check_hosts(core)
    unsettled = 0
    for index, video in enumerate(core.pool.videos):
        _check_video(core, index, video)
        unsettled += not video.settled
    assert unsettled == core.pool.unsettled, f"{unsettled} videos unsettled, counted {core.pool.unsettled}"
    probing = sum(1 for unit in core.pool.units.values() if unit.is_probe and unit.state in OPEN)
    assert probing == core.pool.probes_open, f"{probing} probes open, counted {core.pool.probes_open}"


def _check_places(core: Core) -> None:
    pool = core.pool
    queued = list(pool.queued)
    in_queue = set(queued)
    assert len(queued) == len(in_queue), f"units queued twice: {queued}"
    holders: dict[int, list[str]] = {}
    for host in core.hosts.values():
        for number in host.held:
            holders.setdefault(number, []).append(host.name)
    for unit in pool.units.values():
        assert (unit.id in in_queue) == (unit.state is UnitState.PENDING), f"queue: {story(unit)}"
        held_by = holders.get(unit.id, [])
        assert held_by == ([unit.host] if unit.state in HELD else []), f"held by {held_by}: {story(unit)}"


def _check_hosts(core: Core) -> None:
    for host in core.hosts.values():
        running = sum(1 for number in host.held if core.pool.units[number].state is UnitState.LEASED)
        assert host.running == running, f"{host.name} runs {running}, counted {host.running}"
        assert host.state == "up" or not host.held, f"{host.name} is {host.state} and holds {host.held}"
        assert running <= host.slots, f"{host.name} was given {running} units for {host.slots} slots"
    ready = {host.name for host in core.members.peers.values() if host.credit > 0}
    known = {host.name for host in core.hosts_with_free_slots()}
    assert ready == known, f"with credit: {sorted(ready)}; to be given work: {sorted(known)}"


def _check_video(core: Core, index: int, video: Video) -> None:
    pool = core.pool
    position, counted, opened, frames = video.start, 0, 0, 0
    for place, number in enumerate(video.units):
        unit = pool.units[number]
        assert unit.video == index
        assert unit.start == position, f"{video.listed.name}: gap or overlap at {position}: {story(unit)}"
        last = place == len(video.units) - 1
        assert unit.stop is not None or last, f"{video.listed.name}: units behind an open end"
        assert unit.stop is None or unit.stop >= unit.start, f"it ends before it begins: {story(unit)}"
        assert video.stop is None or unit.stop is None or unit.stop <= video.stop, f"beyond: {story(unit)}"
        position = unit.start if unit.stop is None else unit.stop
        opened += unit.state in OPEN
        if unit.state is UnitState.DONE and unit.host is not None:
            frames += unit.progress_frames
        assert unit.state is not UnitState.VOID, f"it was taken back: {story(unit)}"
        if pool.selection.in_order and place < video.numbered:
            assert unit.before == counted, f"{story(unit)} counts from {unit.before}, not {counted}"
            assert unit.counted is not None
            counted += unit.counted
        if unit.state in (UnitState.COMMITTING, UnitState.DONE):
            assert unit.first_sample is not None, f"no number: {story(unit)}"
            assert pool.numbering.is_right(unit), f"rank {unit.rank}, not {unit.before}: {story(unit)}"
        if unit.state in COMPLETE:
            assert unit.done is not None, f"complete without an answer: {story(unit)}"
            assert unit.done.lease == unit.lease, f"by the answer of {unit.done.lease}: {story(unit)}"
            assert unit.done.stop == unit.stop, f"its answer ends at {unit.done.stop}: {story(unit)}"
        if unit.state is UnitState.DROPPED:
            assert pool.numbering.has_enough(video), f"enough was not there: {story(unit)}"
            assert place >= video.numbered, f"it was numbered: {story(unit)}"
    name = video.listed.name
    if pool.selection.in_order:
        assert video.counted == counted, f"{name}: {counted} frames, counted {video.counted}"
    if not video.all_cut and video.units:
        assert video.next_start == position, f"{name}: next cut at {video.next_start}, not {position}"
    assert opened == video.open_units, f"{name}: {opened} open, counted {video.open_units}"
    if video.agreement is not None:
        assert video.info is None or video.info.fingerprint == video.agreement.told, (
            f"{name}: two fingerprints"
        )
        written = video.agreement.written.frames
        assert frames == written, f"{name}: {frames} frames published, counted {written}"
    if video.settled and not video.refused and not video.failed and video.units:
        end = pool.units[video.units[-1]]
        # where a unit found the file's end, what is behind holds nothing
        seen = end.stop is None or end.stop == video.stop or video.saw_end or pool.numbering.has_enough(video)
        assert seen, f"{name}: settled, but nothing covers what is behind {end.stop}"


def story(unit: Unit) -> str:
    """A unit in one line."""
    return (
        f"unit {unit.id} [{unit.start}, {unit.stop}) of {unit.files} {unit.state.value}, "
        f"attempt {unit.attempt}, host {unit.host}"
    )


@dataclass(slots=True)
class _Seen:
    """What was seen of a unit."""

    state: UnitState
    attempt: int
    result: tuple[object, ...]


class Watch:
    """Looks after every step at one core, and remembers: what is done stays done, as it was done.

    Units that reached a final state never leave it, but for those published that are taken back, nor change
    their range, host, attempt or frames;
    attempts are numbered upwards, one at a time; a held unit that changes hands has a new attempt; videos
    and hosts never lose a published frame; nothing is handed out beyond what a host said it can work on.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[int, _Seen] = {}
        self._final: dict[int, _Seen] = {}
        self._known = 0
        self._frames: dict[int, int] = {}
        self._running: dict[str, tuple[str, int]] = {}
        self._looks = 0

    def look(self) -> None:
        """Raise ``AssertionError`` if anything is broken, or was undone since the last look."""
        check_invariants(self._core)
        self._looks += 1
        taken_back = self._look_at_units()
        for index, video in enumerate(self._core.pool.videos):
            before = self._frames.get(index, 0)
            assert video.frames >= before or index in taken_back, (
                f"{video.listed.name}: {before} frames became {video.frames}"
            )
            self._frames[index] = video.frames
        for host in self._core.hosts.values():
            incarnation, before = self._running.get(host.name, (host.incarnation, 0))
            grew = host.incarnation == incarnation and host.running > before
            assert not grew or host.credit >= -self._resumed(host.name), (
                f"{host.name} was given a unit beyond its credit: {host.running} of {host.capacity}"
            )
            self._running[host.name] = host.incarnation, host.running

    def _resumed(self, name: str) -> int:
        """A host may take up again what it still runs while some of its slots are down."""
        host = self._core.hosts[name]
        return max(0, host.slots - host.capacity)

    def _look_at_units(self) -> set[int]:
        """Gives the videos of which published units were taken back."""
        taken_back: set[int] = set()
        units = self._core.pool.units
        extractions = sum(1 for unit in units.values() if not unit.is_probe)
        assert extractions >= self._known, "units have vanished"
        self._known = extractions
        for number, unit in units.items():
            final = self._final.get(number)
            if final is not None:
                if final.state is UnitState.DONE and unit.state is UnitState.VOID:
                    taken_back.add(unit.video)
                    final = self._final[number] = _Seen(unit.state, final.attempt, _result(unit))
                now = _Seen(unit.state, unit.attempt, _result(unit))
                assert now == final, f"it was {final}; now {story(unit)}"
                continue
            before = self._open.get(number)
            if before is not None:
                assert before.attempt <= unit.attempt, f"attempt {before.attempt} before: {story(unit)}"
            seen = _Seen(unit.state, unit.attempt, _result(unit))
            if unit.state in FINAL:
                self._open.pop(number, None)
                self._final[number] = seen
            else:
                self._open[number] = seen
        return taken_back


def _result(unit: Unit) -> tuple[object, ...]:
    if unit.state is not UnitState.DONE:  # numbers of units behind it may still be counted past it
        return unit.start, unit.stop
    return unit.start, unit.stop, unit.host, unit.first_sample, unit.counted
