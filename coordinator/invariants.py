"""What must hold in the core after every event; tests call this after each step."""

from __future__ import annotations

from coordinator.core import Core
from coordinator.state import HELD, OPEN, UnitState


def check_invariants(core: Core) -> None:
    """Raise ``AssertionError`` naming what is broken, if anything is.

    Units of a video tile it without gap or overlap; a unit is queued if and only if it is pending, and
    held by exactly the host that it names if and only if it is leased, staged or committing; credit is
    never exceeded; every count agrees with what it counts.
    """
    pool = core.pool
    queued = list(pool.queued)
    assert len(queued) == len(set(queued)), f"units queued twice: {queued}"
    for unit in pool.units.values():
        story = f"unit {unit.id} {unit.state.value} attempt {unit.attempt} host {unit.host}"
        assert (unit.id in set(queued)) == (unit.state is UnitState.PENDING), f"queue: {story}"
        holders = [host.name for host in core.hosts.values() if unit.id in host.held]
        assert holders == ([unit.host] if unit.state in HELD else []), f"held by {holders}: {story}"
    for host in core.hosts.values():
        running = sum(1 for number in host.held if pool.units[number].state is UnitState.LEASED)
        assert host.running == running, f"{host.name} runs {running}, counted {host.running}"
        assert host.state == "up" or not host.held, f"{host.name} is {host.state} and holds {host.held}"
        assert running <= host.slots, f"{host.name} was given {running} units for {host.slots} slots"
    unsettled = 0
    for index, video in enumerate(pool.videos):
        position = video.start
        counted = 0
        for place, number in enumerate(video.units):
            unit = pool.units[number]
            assert unit.video == index
            assert unit.start == position, f"{video.listed.name}: gap or overlap at {position}"
            last = place == len(video.units) - 1
            assert unit.stop is not None or last, f"{video.listed.name}: units behind an open end"
            assert video.stop is None or unit.stop is None or unit.stop <= video.stop, (
                f"beyond: unit {unit.id}"
            )
            position = unit.start if unit.stop is None else unit.stop
            if pool.selection.in_order and place < video.numbered:
                assert unit.before == counted, f"unit {unit.id} counts from {unit.before}, not {counted}"
                assert unit.counted is not None
                counted += unit.counted
            if unit.state in (UnitState.COMMITTING, UnitState.DONE):
                assert unit.first_sample is not None, f"unit {unit.id} has no number"
                assert pool.numbering.is_right(unit), (
                    f"unit {unit.id} took rank {unit.rank}, not {unit.before}"
                )
            if unit.state is UnitState.DROPPED:
                assert pool.numbering.has_enough(video), f"unit {unit.id} was dropped"
                assert place >= video.numbered, f"unit {unit.id} was numbered and dropped"
        if pool.selection.in_order:
            assert video.counted == counted, f"{video.listed.name}: {counted} frames, counted {video.counted}"
        if not video.all_cut and video.units:
            assert video.next_start == position, f"{video.listed.name}: next cut at {video.next_start}"
        opened = sum(1 for number in video.units if pool.units[number].state in OPEN)
        assert opened == video.open_units, f"{video.listed.name}: {opened} open, counted {video.open_units}"
        unsettled += not video.settled
    assert unsettled == pool.unsettled, f"{unsettled} videos unsettled, counted {pool.unsettled}"
