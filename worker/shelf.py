"""What a host has decoded: staged, on its way to being published, and published.

An extraction comes here when ``Done`` is said (staged), waits for its files and rows to be written once
``Commit`` came (committing), and is known from then on (published), as the coordinator may ask again. A
``Discard`` takes it back from any of the three.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from common import messages as m
from common.layout import Layout
from worker.held import Held
from worker.publication import Extent
from worker.publish import Publisher

FLUSH_S = 3.0  # the longest that a committed unit waits for its rows on disk, while slots are busy
IDLE_FLUSH_S = 0.05


class Shelf:
    """A host's complete extractions, and their publication. ``say`` sends a message to the coordinator."""

    def __init__(self, publisher: Publisher, layout: Layout, *, say: Callable[[m.FromHost], None]) -> None:
        self._publisher = publisher
        self._layout = layout
        self._say = say
        self._staged: dict[m.Lease, Held] = {}
        self._committing: dict[m.Lease, Held] = {}
        self._published: dict[m.Lease, Held] = {}
        self._flush_since: float | None = None

    @property
    def is_committing(self) -> bool:
        """Something waits to be published."""
        return bool(self._committing)

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
            print(f"framefleet: unit {lease.unit} was {text}", file=sys.stderr, flush=True)
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

    def flush_due(self, now: float, *, idle_since: float) -> bool:
        """Whether what is committed has waited long enough; slots are idle since ``idle_since``."""
        if self._flush_since is None:
            return False
        return now - self._flush_since > FLUSH_S or now - idle_since > IDLE_FLUSH_S

    def flush(self) -> None:
        """Publish what is committed; what cannot be written is given back as failed."""
        self._flush_since = None
        if not self._committing:
            return
        try:
            published = [m.Lease(unit, attempt) for unit, attempt in self._publisher.flush()]
        except OSError as error:
            for lease in list(self._committing):
                self.discard(lease)
                text = f"cannot write to {self._layout.output}: {error.strerror or error}"
                self._say(m.Failed(lease=lease, kind="output", text=text))
            return
        for lease in published:
            held = self._published[lease] = self._committing.pop(lease)
            held.result.rows.clear()  # the manifest has them
        if published:
            self._say_committed(published)

    def close(self) -> None:
        """Publish what is committed, and complete the output."""
        self.flush()
        self._publisher.close()

    def _say_committed(self, leases: list[m.Lease]) -> None:
        trimmed = [self._published[lease].trimmed for lease in leases]
        self._say(m.Committed(leases=leases, trimmed=[each for each in trimmed if each is not None]))
