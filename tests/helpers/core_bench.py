"""A core on a bench: hosts do what a test says, and invariants are checked after every step."""

from __future__ import annotations

from collections.abc import Sequence

from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec, Mode, SamplingOptions, SchedulingOptions
from framefleet.common.libraries import Libraries
from framefleet.common.media import VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.common.status import Failure
from framefleet.coordinator.catalogue import ListedVideo
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.core.invariants import check_invariants
from framefleet.coordinator.events import Action, Conclude, Event, Received, Send
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.coordinator.state import Unit, UnitState


def info(seconds: float = 10.0, *, seekable: bool = True) -> VideoInfo:
    """A 1280x720 video at 25 fps with a keyframe every second."""
    return VideoInfo(
        container="mp4",
        codec="h264",
        width=1280,
        height=720,
        time_base_num=1,
        time_base_den=1000,
        first_pts=0,
        duration_s=seconds,
        frame_rate=25.0,
        keyframes=[1000 * second for second in range(int(seconds))],
        seekable=seekable,
        size_bytes=int(seconds * 250_000),
        checksum="same",
    )


def hello_of(
    host: str,
    *,
    incarnation: str = "1",
    slots: int = 1,
    running: Sequence[m.Lease] = (),
    libraries: Libraries | None = LIBRARIES,
    version: int = m.PROTOCOL_VERSION,
) -> m.Hello:
    """A host's first word."""
    return m.Hello(
        version=version,
        host=host,
        incarnation=incarnation,
        slots=slots,
        running=list(running),
        libraries=libraries,
    )


class Bench:
    """A core with hosts that do what the test says; invariants are checked after every step."""

    def __init__(
        self,
        videos: int = 1,
        *,
        fps: str = "5",
        sampling: SamplingOptions | None = None,
        timestamps: bytes = b"",
        ranges: bytes = b"",
        hosts: tuple[str, ...] = ("a", "b"),
        options: SchedulingOptions | None = None,
        problems: tuple[Failure, ...] = (),
        is_account_shared: bool = False,
        mode: Mode = "coordinated",
    ) -> None:
        sampling = sampling or SamplingOptions(fps=fps)
        names = [f"{index}.mp4" for index in range(videos)]
        self.now = 100.0
        self.core = Core(
            JobSpec(job_id="job", sampling=sampling, scheduling=options or SchedulingOptions(), mode=mode),
            selection=Selection(sampling, timestamps=timestamps, ranges=ranges),
            videos=[
                ListedVideo.of(index=index, path=name.encode(), name=name, folder=name[:-4], size_bytes=1000)
                for index, name in enumerate(names)
            ],
            problems=problems,
            expected=hosts,
            now=self.now,
            is_account_shared=is_account_shared,
        )
        self.answers = True
        """Whether hosts answer ``Discard`` at once, as agents do."""
        self.sent: list[Send] = []
        self.others: list[Action] = []

    def tell(self, event: Event, *, after_s: float = 0.0) -> list[tuple[bytes, m.Message]]:
        """One event and one round of scheduling; returns what was sent because of them."""
        self.now += after_s
        actions = self.core.handle(event, self.now)
        check_invariants(self.core)
        actions += self.core.schedule(self.now)
        check_invariants(self.core)
        sent = [action for action in actions if isinstance(action, Send)]
        self.sent += sent
        self.others += [action for action in actions if not isinstance(action, Send)]
        said: list[tuple[bytes, m.Message]] = [(action.peer, action.message) for action in sent]
        for peer, message in list(said):
            if self.answers and isinstance(message, m.Discard) and peer in self.core.members.peers:
                said += self.tell(Received(peer=peer, message=m.Discarded(lease=message.lease)))
        return said

    def say(self, host: str, message: m.FromHost, *, after_s: float = 0.0) -> list[tuple[bytes, m.Message]]:
        return self.tell(Received(peer=host.encode(), message=message), after_s=after_s)

    def hello(
        self, host: str, *, slots: int = 1, incarnation: str = "1", running: tuple[m.Lease, ...] = ()
    ) -> list[tuple[bytes, m.Message]]:
        said = self.say(
            host,
            hello_of(host, incarnation=f"{host}-{incarnation}", slots=slots, running=running),
        )
        return said + self.say(host, m.Ready(slots=slots))

    def probe_all(self, host: str, seconds: float = 10.0) -> None:
        """Answer probes of a host with videos of this length, until it gets an extraction."""
        while any(unit.is_probe and unit.state is UnitState.LEASED for unit in self.core.pool.units.values()):
            unit = next(
                u for u in self.core.pool.units.values() if u.is_probe and u.state is UnitState.LEASED
            )
            found = [(index, info(seconds)) for index in unit.files]
            self.say(host, m.Probed(lease=unit.lease, found=found, refused=[], seconds=0.01))

    def state_of(self, unit: Unit) -> UnitState:
        return self.core.pool.units[unit.id].state

    def host_state(self, host: str) -> str:
        return self.core.hosts[host].state

    def running(self, host: str) -> list[Unit]:
        units = self.core.pool.units
        return [units[number] for number in sorted(self.core.hosts[host].held)]

    def done(
        self, host: str, unit: Unit, *, frames: int = 5, saw_end: bool | None = None, shown: int = 0
    ) -> m.Done:
        return m.Done(
            lease=unit.lease,
            stop=unit.stop,
            frames=frames,
            suspect=0,
            bytes=frames * 100,
            decoded=5 * frames,
            errors=0,
            saw_end=unit.stop is None if saw_end is None else saw_end,
            seconds=0.5,
            notes=[],
            shown=shown,
        )

    def finish(self, host: str, unit: Unit, *, frames: int = 5) -> None:
        """A host does a unit to its end."""
        lease = unit.lease
        said = self.say(host, self.done(host, unit, frames=frames))
        assert any(isinstance(message, m.Commit) and message.lease == lease for _, message in said)
        self.say(host, m.Committed(leases=[lease]))

    @property
    def ended_of_itself(self) -> bool:
        """Whether the job is over because all was tried, be it in vain."""
        ends = [action for action in self.others if isinstance(action, Conclude)]
        return any(
            end.outcome == "completed" or end.reason.startswith("nothing was extracted") for end in ends
        )

    def work(self, host: str) -> None:
        """A host does all that it is given until nothing is left."""
        while self.core.hosts[host].held:
            self.finish(host, self.running(host)[0])


def assigned(said: list[tuple[bytes, m.Message]]) -> list[m.Assign]:
    return [message for _, message in said if isinstance(message, m.Assign)]
