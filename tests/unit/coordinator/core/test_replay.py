"""A core that comes back from its journal is the one that was killed; the job ends as if it had lived."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.completed import DoneVideo
from framefleet.common.job.spec import JobSpec, SamplingOptions, SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.common.status import nothing_made
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.core.invariants import Watch, check_invariants
from framefleet.coordinator.core.replay import (
    JOURNAL_VERSION,
    check_first_entry,
    durable,
    first_entry,
    replay,
)
from framefleet.coordinator.events import Action, Conclude, Event, Quit, Record, Tick, Unreachable
from framefleet.coordinator.simulation.campaign import CALM_S
from framefleet.coordinator.simulation.judge import judge
from framefleet.coordinator.simulation.world import World
from tests.helpers.core_bench import Bench
from tests.unit.coordinator.core.test_core_random import MODES, world


class MortalServer:
    """Kills a coordinator now and then, in the middle of what it is doing, too, and starts it again."""

    def __init__(self, run: World, seed: int, done: dict[str, DoneVideo] | None = None) -> None:
        self.done = done
        self.run = run
        self.fate = random.Random(-seed)
        self.journal: list[bytes] = []
        self.compared = 0
        self.execute, run.server._execute = run.server._execute, self.die_or_execute  # type: ignore[method-assign]
        self.tell, run.server._tell = run.server._tell, self.tell_and_write  # type: ignore[method-assign]

    def die_or_execute(self, actions: list[Action]) -> None:
        dies = bool(actions) and self.run.timeline.now < CALM_S and self.fate.random() < 0.04
        done = actions[: self.fate.randrange(len(actions) + 1)] if dies else actions
        for action in done:
            if isinstance(action, Record):
                self.write(action.entry)
        self.execute(done)
        if dies and not self.run.server.over:
            self.start_again(is_whole=len(done) == len(actions))

    def tell_and_write(self, what: Event | str) -> list[Action]:
        actions = self.tell(what)
        if isinstance(what, Unreachable):  # told while others are executed, and executed after them
            for action in actions:
                if isinstance(action, Record):
                    self.write(action.entry)
        return actions

    def write(self, entry: dict[str, object]) -> None:
        self.journal.append(msgspec.json.encode({"t_s": self.run.timeline.now, **entry}))

    def start_again(self, *, is_whole: bool) -> None:
        before, server = self.run.core, self.run.server
        core = self.run.core = server.core = same_job(before, self.done)
        replay(core, map(msgspec.json.decode, self.journal), now=lambda: self.run.timeline.now)
        server._watch = Watch(core)
        server._watch.look()
        if is_whole:
            assert durable(core) == durable(before)
            self.compared += 1
        self.write({"event": "restarted"})
        server._inbox.clear()


def same_job(core: Core, done: dict[str, DoneVideo] | None = None) -> Core:
    """A fresh core for the job of another one."""
    return Core(
        core.spec,
        selection=core.pool.selection,
        videos=[video.listed for video in core.pool.videos],
        problems=[],
        expected=sorted(core.members.roster.names),
        now=0.0,
        done=done,
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_job_survives_its_coordinator(mode: str) -> None:
    compared = 0
    for seed in range(8):
        run = world(seed, MODES[mode], poison=seed % 2 == 1)
        mortal = MortalServer(run, seed)
        run.run()
        judge(run)
        compared += mortal.compared
    assert compared > 2


def journal_of(bench: Bench, at_s: float = 0.0) -> list[dict[str, Any]]:
    """What a bench's core has recorded, as it comes back from the disk."""
    entries = [action.entry for action in bench.others if isinstance(action, Record)]
    return [msgspec.json.decode(msgspec.json.encode({"t_s": at_s, **entry})) for entry in entries]


def restart(bench: Bench) -> list[dict[str, Any]]:
    """The bench goes on with a core that knows the journal only; returns that."""
    entries, before = journal_of(bench), bench.core
    bench.core = same_job(before)
    replay(bench.core, entries, now=lambda: bench.now)
    check_invariants(bench.core)
    assert durable(bench.core) == durable(before)
    return entries


def test_what_a_host_runs_is_not_given_to_another_before_its_time_is_over() -> None:
    bench = Bench()
    bench.hello("a")
    bench.probe_all("a", 6.0)
    bench.hello("b")
    (unit,) = bench.running("a")
    number, lease = unit.id, unit.lease
    while bench.running("b"):
        bench.finish("b", bench.running("b")[0])
    restart(bench)
    bench.hello("b")
    assert bench.running("b") == []
    bench.hello("a", running=(lease,))
    (unit,) = bench.running("a")
    assert (unit.id, unit.lease) == (number, lease)
    restart(bench)
    bench.hello("b")
    bench.say("b", m.Progress(units=[]), after_s=29)
    assert bench.running("b") == []
    bench.say("b", m.Progress(units=[]), after_s=2)
    bench.tell(Tick())
    assert [(each.id, each.attempt) for each in bench.running("b")] == [(number, lease.attempt + 1)]


def test_who_is_expected_and_who_is_not_any_more_is_known_after_a_restart() -> None:
    bench = Bench(hosts=("a", "b"), options=SchedulingOptions(host_wait_s=60))
    bench.hello("a")
    (unit,) = bench.running("a")
    bench.say("a", m.Probed(lease=unit.lease, found=[], refused=[(0, "empty")], seconds=0.0))
    restart(bench)
    bench.hello("a")
    assert bench.running("a") == [], "b may still come"
    bench.say("a", m.Progress(units=[]), after_s=61)
    bench.tell(Tick())
    (unit,) = bench.running("a")
    restart(bench)
    bench.hello("a", running=(unit.lease,))
    (unit,) = bench.running("a")
    bench.say("a", m.Probed(lease=unit.lease, found=[], refused=[(0, "empty")], seconds=0.0))
    assert bench.ended_of_itself


def test_what_a_host_does_not_name_is_handed_out_at_once() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    (unit,) = bench.running("a")
    restart(bench)
    bench.hello("a")
    (again,) = bench.running("a")
    assert (again.id, again.attempt) == (unit.id, unit.attempt + 1)


def test_what_is_to_be_published_keeps_its_number_and_is_said_again() -> None:
    bench = Bench(sampling=SamplingOptions(fps="native"), hosts=("a",))
    bench.hello("a", slots=2)
    bench.probe_all("a", 600.0)
    first, second = bench.running("a")
    bench.say("a", bench.done("a", second, frames=7))
    said = bench.say("a", bench.done("a", first, frames=3))
    commits = [message for _, message in said if isinstance(message, m.Commit)]
    assert {commit.first_sample for commit in commits} == {0, 3}
    restart(bench)
    said = bench.hello("a", slots=2, running=(first.lease, second.lease))
    assert [message for _, message in said if isinstance(message, m.Commit)] == commits
    bench.say("a", m.Committed(leases=[first.lease, second.lease]))
    assert bench.core.hosts["a"].frames == 10
    restart(bench)


def test_an_end_that_not_all_have_heard_is_told_again() -> None:
    bench = Bench(videos=0)
    bench.hello("a")
    bench.hello("b")
    bench.say("a", m.Bye(reason=""))
    restart(bench)
    actions = bench.core.schedule(bench.now)
    assert any(isinstance(action, Conclude) for action in actions)
    assert Quit() not in actions
    assert (b"b", m.End(failed=nothing_made(0, 0))) in bench.hello("b")
    bench.say("b", m.Bye(reason=""))
    assert bench.others[-1] == Quit()


def test_a_job_that_had_failed_has_failed() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    bench.core._shutdown.conclude("failed", "no space", frozenset(), bench.now)
    bench.tell(Tick())
    entries = journal_of(bench)
    core = same_job(bench.core)
    replay(core, entries, now=lambda: bench.now)
    assert core.outcome == "failed"
    assert Conclude(outcome="failed", reason="no space") in core.schedule(bench.now)


def test_an_entry_that_does_not_follow_is_told_by_its_line() -> None:
    bench = Bench(hosts=("a",))
    bench.hello("a")
    bench.probe_all("a", 600.0)
    bench.finish("a", bench.running("a")[0])
    entries = journal_of(bench)
    for place, entry in enumerate(entries):
        if entry["event"] == "host_up" and place:
            continue  # it may say Hello any number of times
        rest = entries[:place] + entries[place + 1 :]
        if entry["event"] in ("staged", "leased", "host_up") and place < len(entries) - 2:
            with pytest.raises(UserError, match=r"line [0-9]+ of the journal"):
                replay(same_job(bench.core), rest, now=lambda: bench.now)
    changed = [{**entry, "first_sample": 7} if entry["event"] == "committed" else entry for entry in entries]
    with pytest.raises(UserError, match="its number is 0"):
        replay(same_job(bench.core), changed, now=lambda: bench.now)


def test_a_journal_belongs_to_one_job_and_one_input() -> None:
    videos = [video.listed for video in Bench(videos=3).core.pool.videos]
    mine = first_entry(JobSpec(job_id="j"), videos, "2024-01-01T00:00:00+00:00")
    check_first_entry(mine, first_entry(JobSpec(job_id="j"), videos, "later"))
    for version in (None, JOURNAL_VERSION - 1, JOURNAL_VERSION + 1):
        other = {**mine, "version": version} if version else {k: v for k, v in mine.items() if k != "version"}
        with pytest.raises(
            UserError, match=rf"has version {version or 1}, .* start the job again with --resume"
        ):
            check_first_entry(other, mine)
    for spec, listed, words in [
        (JobSpec(job_id="k"), videos, "'j', not of 'k'"),
        (JobSpec(job_id="j", sampling=SamplingOptions(fps="1")), videos, "the options"),
        (JobSpec(job_id="j"), videos[:2], "the list of files"),
    ]:
        with pytest.raises(UserError, match=words):
            check_first_entry(mine, first_entry(spec, listed, "later"))
