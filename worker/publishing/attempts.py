"""What a host has decoded: staged, on its way to being published, and published.

An extraction comes here when ``Done`` is said (staged), waits for its files and rows to be on the disk once
``Commit`` came (committing), and is known from then on (published), as the coordinator may ask again. A
``Discard`` takes it back from any of the three. ``Committed`` is said of what a power cut leaves as it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from framefleet.common.files.durable import sync_filesystem
from framefleet.common.host.layout import Layout
from framefleet.common.log import LOG
from framefleet.common.media import Timing, UnitResult
from framefleet.common.protocol import messages as m
from framefleet.worker.publishing.publication import Extent, Key
from framefleet.worker.publishing.publisher import Publisher
from framefleet.worker.slots.slot_messages import Staged

FLUSH_S = 3.0  # the longest that a committed unit waits for its rows on disk, while slots are busy
IDLE_FLUSH_S = 0.05
SYNC_LOOK_S = 0.01  # how often to see whether the disk has taken what was written


class Sync:
    """Brings files that are in place to the disk, in a thread, as it may take seconds: slots are served."""

    def __init__(self, folder: Path, placed: list[Key]) -> None:
        self.placed = placed
        self._folder = folder
        self._error: OSError | None = None
        # a disk that does not answer must not keep the process from its end
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for the end.

        Raises:
            OSError: the disk did not take all.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            sync_filesystem(self._folder)
        except OSError as error:
            self._error = error


class Attempts:
    """A host's complete extractions, and their publication. ``say`` sends a message to the coordinator."""

    def __init__(self, publisher: Publisher, layout: Layout, *, say: Callable[[m.FromHost], None]) -> None:
        self._publisher = publisher
        self._layout = layout
        self._say = say
        self._staged: dict[m.Lease, Held] = {}
        self._committing: dict[m.Lease, Held] = {}
        self._published: dict[m.Lease, Held] = {}
        self._flush_since: float | None = None
        self._sync: Sync | None = None

    @property
    def look_again_s(self) -> float | None:
        """When something is to be done about what waits to be published; None: nothing waits."""
        if self._sync is not None:
            return SYNC_LOOK_S
        return IDLE_FLUSH_S if self._committing else None

    def leases(self) -> list[m.Lease]:
        """All that is here; of the published the latest first."""
        return [*self._staged, *self._committing, *reversed(self._published)]

    def find(self, lease: m.Lease) -> Held | None:
        """What is here of an attempt."""
        return self._staged.get(lease) or self._committing.get(lease) or self._published.get(lease)

    def progress(self) -> list[m.UnitProgress]:
        """What heartbeats tell of extractions that are complete, but not published."""
        return [
            m.UnitProgress(
                lease.unit, lease.attempt, held.task.start, len(held.result.rows), held.result.seconds
            )
            for lease, held in (*self._staged.items(), *self._committing.items())
        ]

    # ---- the coordinator's words --------------------------------------------------------------------

    def stage(self, held: Held) -> None:
        """An extraction is complete; the coordinator is told."""
        self._staged[held.done.lease] = held
        self._say(held.done)

    def say_all(self) -> None:
        """Tell again of all that is not published: the coordinator has just come to know this host."""
        for held in (*self._staged.values(), *self._committing.values()):
            self._say(held.done)

    def say_staged(self, now: float, *, after_s: float) -> None:
        """Tell again of what was told ``after_s`` seconds ago and never answered."""
        for held in self._staged.values():
            if now - held.said_at > after_s:
                held.said_at = now
                self._say(held.done)

    def commit(self, commit: m.Commit) -> None:
        """An extraction is to be published, now or with the next few."""
        lease = commit.lease
        held = self._published.get(lease) or self._committing.get(lease)
        if held is not None and held.commit != commit:
            # never, or frames would lie under wrong names: they are taken back and made again
            text = f"told to publish it as {commit}, and before as {held.commit}"
            LOG.warning("unit %d was %s", lease.unit, text)
            self.discard(lease)
            self._say(m.Failed(lease=lease, kind="error", text=m.clip_text(text)))
            return
        if lease in self._published:
            self._say_committed([lease])
            return
        held = self._staged.pop(lease, None)
        if held is None:
            return  # already queued for publishing, or gone: a heartbeat without it tells so
        held.commit = commit
        self._committing[lease] = held
        rows = held.result.rows[: commit.keep]
        if len(rows) < len(held.result.rows):
            held.trimmed = m.Trimmed(
                lease,
                suspect=sum(row.status == "suspect" for row in rows),
                bytes=sum(row.bytes for row in rows),
                dropped=sum(row.is_dropped for row in rows),
            )
        result, done = held.result, held.done
        self._publisher.add(
            lease.unit,
            lease.attempt,
            held.task.video,
            held.task.folder,
            rows,
            commit.first_sample,
            extent=Extent(
                start=held.task.start,
                stop=None if done.saw_end else done.stop,
                shown=done.shown,
                video_bytes=result.video_bytes,
                video_checksum=held.task.fingerprint.checksum,
            ),
        )
        if self._flush_since is None:
            self._flush_since = time.monotonic()

    def discard(self, lease: m.Lease) -> None:
        """Nothing is to be left of an attempt."""
        self._staged.pop(lease, None)
        self._committing.pop(lease, None)
        self._published.pop(lease, None)
        self._publisher.discard(lease.unit, lease.attempt)

    # ---- publishing ---------------------------------------------------------------------------------

    def publish(self, now: float, *, idle_since: float) -> None:
        """Go on with publishing, without waiting: place what has been committed for long enough (slots are
        idle since ``idle_since``), and record what has come to the disk."""
        if self._sync is not None:
            if self._sync.is_running:
                return
            self._record(self._sync)
        if self._flush_since is None:
            return
        if now - self._flush_since > FLUSH_S or now - idle_since > IDLE_FLUSH_S:
            self._place()

    def flush(self) -> None:
        """Publish what is committed, and wait for the disk; what cannot be written is said to have failed."""
        if self._sync is not None:
            self._record(self._sync)
        self._place()
        if self._sync is not None:
            self._record(self._sync)

    def close(self) -> None:
        """Publish what is committed, and complete the output."""
        self.flush()
        self._publisher.close()

    def _place(self) -> None:
        self._flush_since = None
        if not self._committing:
            return
        try:
            placed = self._publisher.place()
        except OSError as error:
            self._give_back(list(self._committing), error)
        else:
            self._sync = Sync(self._layout.output, placed)

    def _record(self, sync: Sync) -> None:
        self._sync = None
        try:
            sync.wait()
            published = [m.Lease(unit, attempt) for unit, attempt in self._publisher.record(sync.placed)]
        except OSError as error:
            placed = (m.Lease(unit, attempt) for unit, attempt in sync.placed)
            self._give_back([lease for lease in placed if lease in self._committing], error)
            return
        for lease in published:
            held = self._published[lease] = self._committing.pop(lease)
            held.result.rows.clear()  # the manifest has them
        if published:
            self._say_committed(published)

    def _give_back(self, leases: Iterable[m.Lease], error: OSError) -> None:
        for lease in leases:
            self.discard(lease)
            text = f"cannot write to {self._layout.output}: {error.strerror or error}"
            self._say(m.Failed(lease=lease, kind="output", text=text))

    def _say_committed(self, leases: list[m.Lease]) -> None:
        trimmed = [self._published[lease].trimmed for lease in leases]
        self._say(m.Committed(leases=leases, trimmed=[each for each in trimmed if each is not None]))


MAX_NOTES = 16


@dataclass(slots=True)
class Held:
    """An extraction that is complete and waits for the coordinator's word."""

    task: m.Extract
    result: UnitResult
    done: m.Done
    said_at: float
    commit: m.Commit | None = None
    """The word to publish it, once that has come."""
    trimmed: m.Trimmed | None = None
    """What is left of it, where the coordinator does not want all."""


def done_of(staged: Staged, timing: Timing | None = None) -> m.Done:
    """What the coordinator is told of a complete extraction, and of where its time went."""
    result = staged.result
    return m.Done(
        lease=staged.lease,
        stop=staged.stop,
        frames=len(result.rows),
        suspect=sum(1 for row in result.rows if row.status == "suspect"),
        bytes=sum(row.bytes for row in result.rows),
        decoded=result.decoded,
        errors=result.errors,
        saw_end=result.saw_end,
        seconds=result.seconds,
        shown=result.shown,
        notes=[m.clip_text(note) for note in result.notes[:MAX_NOTES]],
        timing=timing,
        dropped=sum(row.is_dropped for row in result.rows),
    )
