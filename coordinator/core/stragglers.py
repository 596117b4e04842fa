"""The end of a job: when slots idle and nothing waits, take from those that would finish last.

A running unit is split (``Shrink``): its host ends it earlier, tells where, and only then is the rest handed
out, so nothing is done twice. What cannot be split and takes far longer than expected is started a
second time on another host, and whichever copy is complete first counts (Spark and MapReduce call such
copies speculative; the rule for when is theirs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framefleet.common.media import MAX_TICK
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.leases import Leases, task_of
from framefleet.coordinator.events import Action, Record, Send
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import HELD, OPEN, Host, Unit, UnitState

LOOK_S = 0.1  # between two looks at all that runs, with up to LOOK_UNITS units; longer with more
LOOK_UNITS = 500
PROBE_WAIT_S = 5.0  # a probe that takes no longer brings work for idle slots itself
SHRINK_WAIT_S = 10.0  # a slot looks after every GOP; then it is asked again, or a copy is made
CURB_FACTOR = 3.0  # a unit with more left than this times the largest size is ended earlier at once
MEASURED_S = 10.0  # a unit that has told of so much time is believed
LEAST_PART = 0.5  # of the smallest unit: less is not worth handing out


class Stragglers:
    """Splits and copies running units for the sake of idle slots."""

    def __init__(
        self, pool: Pool, leases: Leases, hosts: dict[str, Host], *, emit: Callable[[Action], None]
    ) -> None:
        self._pool = pool
        self._leases = leases
        self._hosts = hosts
        self._emit = emit
        self._look_at = float("-inf")
        self.hedged = 0

    def relieve(self, idle: Sequence[Host], now: float) -> None:
        """Find work for ``idle`` hosts, which have credit when nothing waits to be handed out."""
        if self._pool.options.cut == "never" or now < self._look_at:
            return
        leased = [
            unit
            for host in self._hosts.values()
            if host.running and not host.is_awaited
            for unit in (self._pool.units[number] for number in host.held)
            if unit.state is UnitState.LEASED
        ]
        if any(unit.is_probe and now - unit.changed_at < PROBE_WAIT_S for unit in leased):
            return
        running = [unit for unit in leased if unit.copy_of is None and not unit.is_probe]
        self._look_at = now + LOOK_S * max(1.0, len(running) / LOOK_UNITS)
        if running:
            left = {unit.id: self._remaining(unit, now) for unit in running}
            asked = sum(1 for unit in running if self._is_asked(unit, now))
            whole = self._split(running, left, idle, asked, now)
            self._hedge(whole, left, idle, now)

    def split_overlong(self, unit: Unit, others_s: float, now: float) -> None:
        """A unit has told how far it is: if it would last far longer than any should, it is ended earlier.

        Its host is slow, or its video costs more than was thought; that need not wait until slots idle. In
        ``others_s`` seconds all that waits would be handed out: what lasts longer, but cannot be ended at a
        keyframe before, is ended within a GOP: the rest costs its roll-in again, while there is time.
        """
        cap_s = self._pool.options.unit_cap_s
        if unit.unsplittable or self._is_asked(unit, now) or not self._pool.can_split(unit):
            return
        if self._pool.options.unit_span_s is not None or self._pool.options.cut == "never":
            return
        left_s, rate = self._remaining(unit, now)
        if left_s < CURB_FACTOR * cap_s:
            return
        stop = self._stop_for(unit, left_s, rate, keep_s=cap_s, helper_speed=1.0, within_gops=False)
        if stop is None and left_s > CURB_FACTOR * cap_s + others_s and unit.busy_s > MEASURED_S:
            stop = self._stop_for(unit, left_s, rate, keep_s=others_s, helper_speed=1.0)
        if stop is not None:
            self._shrink(unit, stop, now)

    def _shrink(self, unit: Unit, stop: int, now: float) -> None:
        assert unit.host is not None
        unit.shrink_at = now
        self._emit(Send(peer=self._hosts[unit.host].peer, message=m.Shrink(lease=unit.lease, stop=stop)))

    def _remaining(self, unit: Unit, now: float) -> tuple[float, float]:
        """Estimated seconds until a LEASED extraction is complete, and its pixels per second."""
        assert unit.host is not None
        video = self._pool.videos[unit.video]
        done_px = self._pool.workload.done_px(unit)
        return policy.remaining_s(
            max(unit.lead_px + self._work_px(unit), done_px),
            rate=self._pool.rates.of(video) * self._hosts[unit.host].speed,
            done_px=done_px,
            busy_s=unit.busy_s,
            since_s=now - unit.progress_at,
            elapsed_s=now - unit.changed_at,
        )

    def _range_s(self, unit: Unit) -> tuple[float, float]:
        """Where a unit begins and ends, in seconds of video."""
        video = self._pool.videos[unit.video]
        info, sampling = video.info, self._pool.workload.sampling_of(video)
        assert info is not None
        start_s = sampling.seconds_of(unit.start, info.time_base)
        if unit.stop is not None:
            return start_s, sampling.seconds_of(unit.stop, info.time_base)
        return start_s, video.end_s

    def _work_px(self, unit: Unit) -> float:
        """Its work; more than was thought, if it goes on behind the end that the container claims."""
        if unit.stop is not None:
            return unit.work_px
        start_s, end_s = self._range_s(unit)
        return max(unit.work_px, (end_s - start_s) * self._pool.videos[unit.video].px_per_s)

    @staticmethod
    def _is_asked(unit: Unit, now: float) -> bool:
        return unit.shrink_at is not None and now - unit.shrink_at < SHRINK_WAIT_S

    # ---- splitting ----------------------------------------------------------------------------------

    def _split(
        self,
        running: Sequence[Unit],
        left: dict[int, tuple[float, float]],
        idle: Sequence[Host],
        asked: int,
        now: float,
    ) -> list[Unit]:
        """Ask the units that would finish last for what idle slots can take, so that all end together.

        Returns: those that would be asked, but cannot be split.
        """
        free = sum(host.credit for host in idle) - asked
        idle_speed = sum(host.credit * host.speed for host in idle)
        speeds = [self._hosts[unit.host].speed for unit in running if unit.host is not None]
        times = [(left[unit.id][0], speed) for unit, speed in zip(running, speeds, strict=True)]
        level_s = policy.finish_level_s(times, idle_speed)
        helper_speed = idle_speed / sum(host.credit for host in idle)
        least_s = LEAST_PART * self._pool.options.unit_min_s
        whole: list[Unit] = []
        for unit in sorted(running, key=lambda unit: left[unit.id], reverse=True):
            left_s, rate = left[unit.id]
            if free <= 0 or left_s - level_s < least_s:
                break
            if self._is_asked(unit, now):
                continue
            stop = None
            if not unit.unsplittable and self._pool.can_split(unit):
                stop = self._stop_for(unit, left_s, rate, keep_s=level_s, helper_speed=helper_speed)
            if stop is None or unit.shrink_at is not None:  # or was asked, and did not answer
                whole.append(unit)
            if stop is None:
                continue
            free -= 1
            self._shrink(unit, stop, now)
        return whole

    def _stop_for(
        self,
        unit: Unit,
        left_s: float,
        rate: float,
        *,
        keep_s: float,
        helper_speed: float,
        within_gops: bool = True,
    ) -> int | None:
        video = self._pool.videos[unit.video]
        assert video.info is not None
        start_s, end_s = self._range_s(unit)
        work_px = self._work_px(unit)
        if work_px <= 0 or end_s <= start_s:
            return None
        px_per_video_s, left_px = work_px / (end_s - start_s), left_s * rate
        if px_per_video_s <= 0:  # a lie about the video's length makes less of it than a float can tell
            return None
        left = policy.Remainder(
            now_s=max(start_s, end_s - left_px / px_per_video_s),
            end_s=end_s,
            time_per_video_s=px_per_video_s / rate,
            helper_time_per_video_s=px_per_video_s / (self._pool.rates.of(video) * helper_speed),
            lead_s=max(0.0, left_px - work_px) / rate,
        )
        stop = policy.split_position(
            video.info, self._pool.workload.sampling_of(video), left, keep_s=keep_s, within_gops=within_gops
        )
        if stop is None or not unit.start < stop <= MAX_TICK or (unit.stop is not None and stop >= unit.stop):
            return None
        return stop

    def shrunk(self, unit: Unit, stop: int | None) -> None:
        """A host will end a unit at ``stop``: the rest waits to be handed out, if there is one."""
        unit.shrink_at = None
        if stop is None or stop < unit.start or (unit.stop is not None and stop >= unit.stop):
            unit.unsplittable = True
            return
        self.drop_copy(unit)
        if self._pool.can_split(unit):
            self._pool.split(unit, stop)

    def accepts(self, unit: Unit, done: m.Done) -> bool:
        """Whether an answer ends where its unit ends; an earlier end makes the rest a unit of its own."""
        if done.stop == unit.stop:
            return True
        if done.stop is None or done.stop < unit.start or not self._pool.can_split(unit):
            return False
        if unit.stop is not None and done.stop > unit.stop:
            return False
        self._pool.split(unit, done.stop)
        return True

    # ---- copies -------------------------------------------------------------------------------------

    def _hedge(
        self,
        whole: Sequence[Unit],
        left: dict[int, tuple[float, float]],
        idle: Sequence[Host],
        now: float,
    ) -> None:
        """Start a second time what takes far too long, on a host that would be done with it earlier."""
        for unit in sorted(whole, key=lambda unit: unit.changed_at):
            elapsed_s = now - unit.changed_at
            if elapsed_s <= policy.HEDGE_MIN_S:
                return
            if unit.copy is not None or elapsed_s <= policy.HEDGE_FACTOR * self._pool.workload.estimate_s(
                unit
            ):
                continue
            others = [host for host in idle if host.credit > 0 and host.name != unit.host]
            if not others:
                continue
            # one that it failed on is better than none
            host = max(others, key=lambda host: (host.name not in unit.avoid, host.speed))
            rate = self._pool.rates.of(self._pool.videos[unit.video]) * host.speed
            if (unit.lead_px + self._work_px(unit)) / rate >= left[unit.id][0]:
                continue
            copy = self._pool.copy(unit)
            self.hedged += 1
            copy.attempt = 1
            self._leases.grant(copy, host, now)
            self._emit(Record(entry={"event": "hedged", "unit": unit.id, "copy": copy.id, "host": host.name}))
            self._emit(
                Send(peer=host.peer, message=m.Assign(lease=copy.lease, task=task_of(copy, self._pool)))
            )

    def first_done(self, unit: Unit) -> None:
        """Of a unit and its copy, ``unit`` is complete first: the other one is dropped."""
        if unit.copy_of is None:
            self.drop_copy(unit)
            return
        original = self._pool.promote(unit)
        self._emit(Record(entry={"event": "promoted", "unit": original.id, "copy": unit.id}))
        self._drop(original)

    def drop_copy(self, unit: Unit) -> None:
        """A unit needs no copy any more."""
        if unit.copy is not None:
            self._drop(self._pool.units[unit.copy])

    def drop_orphans(self) -> None:
        """End the copies of units that have been given up or dropped."""
        while self._pool.orphans:
            self._drop(self._pool.units[self._pool.orphans.pop()])

    def _drop(self, unit: Unit) -> None:
        if unit.state in HELD:
            assert unit.host is not None
            self._emit(Send(peer=self._hosts[unit.host].peer, message=m.Discard(lease=unit.lease)))
        if unit.state in OPEN:
            self._leases.drop(unit)
