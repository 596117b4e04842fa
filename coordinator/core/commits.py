"""From staged to published: which units may be, in which order, and how much of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.leases import Leases
from framefleet.coordinator.events import Action, Record, Send
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import HELD, OPEN, Host, Unit, UnitState, Video
from framefleet.coordinator.totals import Totals

STAGED = ("frames", "suspect", "bytes", "decoded", "shown", "saw_end", "seconds", "notes", "dropped")
MAX_NOTES = 1000  # what the summary tells; a million videos may each have something to say


class Commits:
    """The two-step commit, in the order that numbers and limits ask for."""

    def __init__(
        self, pool: Pool, leases: Leases, hosts: dict[str, Host], *, emit: Callable[[Action], None]
    ) -> None:
        self._pool = pool
        self._numbering = pool.numbering
        self._leases = leases
        self._hosts = hosts
        self._emit = emit
        self._notes: dict[str, None] = {}
        self._more_notes = 0
        self.totals = Totals()
        """What all units that were published hold together."""

    @property
    def notes(self) -> list[str]:
        """Remarks on single videos: the first of them, and how many more there were."""
        more = [f"and {self._more_notes} more remarks"] if self._more_notes else []
        return [*self._notes, *more]

    def note(self, text: str) -> None:
        """A remark for the user."""
        if text in self._notes:
            return
        if len(self._notes) < MAX_NOTES:
            self._notes[text] = None
        else:
            self._more_notes += 1

    def record_staged(self, unit: Unit, done: m.Done) -> None:
        """Write down what a host has staged of a unit."""
        entry: dict[str, object] = {
            "event": "staged", "unit": unit.id, "attempt": unit.attempt, "host": unit.host
        }  # fmt: skip
        for name in STAGED:  # omit empty fields
            if value := getattr(done, name):
                entry[name] = value
        if done.stop != unit.stop:
            entry["stop"] = done.stop
        if done.timing is not None:
            entry["timing"] = done.timing
        self._emit(Record(entry=entry))

    def go_on(self, unit: Unit, now: float) -> None:
        """``unit`` has been staged or given up: publish what is numbered now, or have it done again."""
        video, numbering = self._pool.videos[unit.video], self._numbering
        wrong: list[Unit] = []
        for ready in numbering.numbered(video, unit):
            if numbering.is_right(ready):
                ready.move("commit")
                self.send(ready, now)
            else:
                wrong.append(ready)
        for ready in reversed(wrong):  # the first of them is the next one to be handed out
            entry = {"unit": ready.id, "attempt": ready.attempt, "told": ready.rank, "rank": ready.before}
            self._emit(Record(entry={"event": "redone", **entry}))
            self._discard(ready)
            self._leases.release(ready)
        if numbering.limit is not None:
            if numbering.has_enough(video):
                self._drop_rest(video)
            self._pool.recompute_horizon(unit.video)

    def after_giving_up(self, unit: Unit, now: float) -> None:
        """Others of its video may have waited for it: the frames that it lacks are estimated."""
        video = self._pool.videos[unit.video]
        sampling = self._pool.workload.sampling_of(video)
        counted = self._numbering.give_up(video, unit, sampling)
        if counted is not None and video.info is not None:
            start_s = sampling.seconds_of(unit.start, video.info.time_base)
            self.note(
                f"{video.listed.name}: the number of frames in the part from {start_s:.2f} s on that was "
                f"given up is estimated at {counted}, for what lies behind it"
            )
        self.go_on(unit, now)

    def send(self, unit: Unit, now: float) -> None:
        """Tell the host of a COMMITTING unit to publish it, or tell it again."""
        assert unit.host is not None
        assert unit.first_sample is not None
        assert unit.done is not None
        unit.changed_at = now
        kept = self._numbering.kept(unit)
        keep = kept if kept < unit.done.frames else None
        commit = m.Commit(lease=unit.lease, first_sample=unit.first_sample, keep=keep)
        self._emit(Send(peer=self._hosts[unit.host].peer, message=commit))

    def trimmed(self, unit: Unit, trimmed: m.Trimmed) -> None:
        """The host has kept a part of the unit."""
        if unit.state is UnitState.COMMITTING and unit.done is not None:
            unit.done = msgspec.structs.replace(
                unit.done,
                frames=self._numbering.kept(unit),
                suspect=trimmed.suspect,
                bytes=trimmed.bytes,
                dropped=trimmed.dropped,
            )

    def committed(self, host: Host, unit: Unit) -> m.Done | None:
        """A unit lies on its host's disk; None if that is no news, or not what was asked for."""
        done = unit.done
        if unit.state is not UnitState.COMMITTING or done is None or done.frames > self._numbering.kept(unit):
            return None
        self._leases.settle(unit, host, "committed")
        host.units += 1
        host.frames += done.frames
        video = self._pool.videos[unit.video]
        video.frames += done.frames
        self.totals.add(done)
        if video.agreement is not None:
            video.agreement.written.add(done)
        name = video.listed.name
        for note in done.notes:
            self.note(f"{name}: {note}")
        entry = {
            "unit": unit.id, "attempt": unit.attempt, "host": host.name, "video": name, "start": unit.start,
            "stop": unit.stop, "first_sample": unit.first_sample, "frames": done.frames,
            "suspect": done.suspect, "bytes": done.bytes, "seconds": done.seconds,
        }  # fmt: skip
        if done.dropped:
            entry["dropped"] = done.dropped
        self._emit(Record(entry={"event": "committed", **entry}))
        unit.progress_frames = done.frames
        unit.forget()
        if video.settled:
            self._pool.forget(video)
        return done

    def _drop_rest(self, video: Video) -> None:
        """The numbered units of a video hold all frames that are wanted: end what is beyond them."""
        for number in video.units[video.numbered :]:
            unit = self._pool.units[number]
            if unit.state in OPEN:
                self._discard(unit)
                self._leases.drop(unit)
        self._pool.stop_cutting(video)

    def _discard(self, unit: Unit) -> None:
        """Tell the host that holds a unit, if there is one, to forget it."""
        if unit.state in HELD:
            assert unit.host is not None
            self._emit(Send(peer=self._hosts[unit.host].peer, message=m.Discard(lease=unit.lease)))
