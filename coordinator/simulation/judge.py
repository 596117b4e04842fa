"""Whether a run gave what the job asks for: every wanted frame once, under its name, or told as failed."""

from __future__ import annotations

from fractions import Fraction

from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.footage import TICKS, Footage
from framefleet.coordinator.simulation.world import World
from framefleet.coordinator.state import UnitState

TIME_BASE = Fraction(1, TICKS)


def judge(world: World) -> None:
    """Raise ``AssertionError`` that says what is missing, done twice or wrong; for a run that has ended."""
    server, core = world.server, world.core
    # where disks are full and sound hosts away, a job may end early, but by no other cause
    gave_up = server.outcome == "failed" and any(what == "broken_disk" for _, _, what in world.happened)
    assert gave_up or server.outcome == "completed", f"{server.outcome}: {server.reason}"
    entries: dict[str, list[dict[str, object]]] = {video.name: [] for video in world.plan.footage}
    for entry in server.records:
        if entry["event"] == "committed":
            entries[str(entry["video"])].append(entry)
        elif entry["event"] == "voided":
            entries[str(entry["video"])].clear()
    incomplete = {
        index
        for unit in core.pool.units.values()
        if unit.state is UnitState.FAILED and not unit.is_probe
        for index in unit.files
    }
    published = world.published
    for video in world.plan.footage:
        if not video.is_video:
            continue
        pairs: list[tuple[int, int]] = []
        for entry in entries[video.name]:
            lease = m.Lease(int(str(entry["unit"])), int(str(entry["attempt"])))
            picked = published.get((str(entry["host"]), lease))
            assert picked is not None, f"committed, never published: {entry}"
            assert entry["frames"] == len(picked.frames), f"{len(picked.frames)} frames published: {entry}"
            pairs += picked.pairs()
        _judge_video(world, video, sorted(pairs), is_whole=not gave_up and video.index not in incomplete)
    if not gave_up:  # else End may overtake a Discard to a host that comes back, as no TCP connection does
        _judge_disks(world)


def wanted(world: World, video: Footage) -> list[tuple[int, int]]:
    """(sample, frame) of all frames that a job must give of a video."""
    sampling = world.selection.of(video.name)
    assert sampling is not None
    start, stop = sampling.range_of(TIME_BASE)
    picked = video.pick(sampling, video.shown(sampling, start, stop), start, 0)
    return picked.pairs()[: world.selection.limit]


def _judge_video(world: World, video: Footage, found: list[tuple[int, int]], *, is_whole: bool) -> None:
    name = video.name
    assert len({sample for sample, _ in found}) == len(found), f"{name}: two frames have one name"
    assert world.core.pool.videos[video.index].frames == len(found), f"{name}: miscounted"
    expected = wanted(world, video)
    if is_whole and not world.core.pool.videos[video.index].refused:
        assert found == expected, (
            f"{name}: {len(found)} frames instead of {len(expected)}: "
            f"too many {sorted({*found} - {*expected})[:5]}, missing {sorted({*expected} - {*found})[:5]}"
        )
    elif world.selection.limit is None and not world.selection.in_order:
        assert {*found} <= {*expected}, f"{name}: {sorted({*found} - {*expected})[:5]} are not wanted"


def _judge_disks(world: World) -> None:
    """Hosts that are there hold nothing but what was committed there."""
    units = world.core.pool.units
    for host in world.hosts.values():
        known = world.core.hosts.get(host.name)
        if known is None or known.state != "left" or known.incarnation != host.peer.decode():
            continue  # lost, or dead at the end: the launcher leaves out what nobody committed
        for lease in host.attempts.published:
            unit = units[lease.unit]
            assert (unit.host, unit.attempt) == (host.name, lease.attempt), f"{host.name} published {lease}"
            assert unit.state is UnitState.DONE, f"{host.name} published {lease}, which is {unit.state.value}"
