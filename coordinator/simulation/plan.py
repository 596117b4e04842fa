"""A world before anything happens in it: its hosts and videos, and the best that could be had of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from framefleet.common.job.sampling import Sampling
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import SamplingOptions, SchedulingOptions
from framefleet.coordinator.simulation.footage import Footage
from framefleet.coordinator.simulation.network import LinkOptions
from framefleet.coordinator.simulation.server import ServerCosts
from framefleet.coordinator.simulation.slots import Costs


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """A host: the true speed of each of its slots, and when its agent starts; None: never."""

    name: str
    speeds: tuple[float, ...]
    starts_at: float | None = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a run depends on, but the policy and what goes wrong."""

    seed: int
    hosts: list[HostPlan]
    footage: list[Footage]
    sampling: SamplingOptions = field(default_factory=lambda: SamplingOptions(fps="5"))
    timestamps: bytes = b""
    scheduling: SchedulingOptions = field(default_factory=SchedulingOptions)
    links: LinkOptions = field(default_factory=LinkOptions)
    costs: Costs = field(default_factory=Costs)
    server: ServerCosts = field(default_factory=ServerCosts)
    error_rate: float = 0.0
    """Share of units that end in an exception or a crash, before the calm."""
    names: list[str] = field(default_factory=list)
    """Hosts of the cluster, if more than those that are planned for."""

    def selection(self) -> Selection:
        return Selection(self.sampling, timestamps=self.timestamps)

    def sampling_of(self, video: Footage) -> Sampling:
        sampling = self.selection().of(video.name)
        assert sampling is not None
        return sampling

    def work_s(self) -> float:
        """W: seconds that a slot of speed 1 needs to decode and encode all that is wanted, once.

        Probing, opening and roll-in are not in it: a schedule that needs them pays for them.
        """
        selection = self.selection()
        total = 0.0
        for video in self.footage:
            sampling = selection.of(video.name)
            assert sampling is not None
            total += video.work_s(sampling)
        return total

    def ideal_s(self) -> float:
        """The least makespan: all slots that ever start are busy from their start until all ends at once.

        It is W/S, S being the sum of all slots' speeds, if all hosts start at 0; if some start later it is
        the time T at which the sum of speed x (T - start) reaches W. Nobody is charged for late hosts. It is
        never less than the fastest slot takes to decode the longest GOP: who wants the last frame must.
        """
        starts = sorted(
            (host.starts_at, sum(host.speeds)) for host in self.hosts if host.starts_at is not None
        )
        work_s, speed, weighted = self.work_s(), 0.0, 0.0
        ideal = 0.0
        for place, (start, added) in enumerate(starts):
            speed += added
            weighted += added * start
            ideal = (work_s + weighted) / speed
            if place + 1 == len(starts) or ideal <= starts[place + 1][0]:
                break
        longest_s = max(
            (min(video.gop, video.frames) * video.decode_s() for video in self.footage), default=0.0
        )
        return max(ideal, longest_s / max(speed for host in self.hosts for speed in host.speeds))
