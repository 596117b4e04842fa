"""What a virtual host has extracted: staged, committing, published (``worker/publishing/attempts.py``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.footage import Picked


@dataclass(slots=True)
class Held:
    """A complete attempt."""

    done: m.Done
    picked: Picked
    said_at: float
    trimmed: m.Trimmed | None = None


@dataclass(slots=True)
class VirtualAttempts:
    """Each complete attempt of a host is in one of three places; ``ever_published`` forgets nothing."""

    staged: dict[m.Lease, Held] = field(default_factory=dict)
    committing: dict[m.Lease, Held] = field(default_factory=dict)
    published: dict[m.Lease, Held] = field(default_factory=dict)
    ever_published: dict[m.Lease, Picked] = field(default_factory=dict)

    def find(self, lease: m.Lease) -> Held | None:
        """The attempt, wherever it is."""
        return self.staged.get(lease) or self.committing.get(lease) or self.published.get(lease)

    def leases(self) -> list[m.Lease]:
        """All of them, as an agent has them in ``Hello``: of those that are published, the latest first."""
        return [*self.staged, *self.committing, *reversed(self.published)]

    def unpublished(self) -> dict[m.Lease, Held]:
        return self.staged | self.committing

    def commit(self, commit: m.Commit) -> None:
        """Number a staged attempt's frames, and keep as many as are wanted; it waits for the disk then."""
        held = self.staged.pop(commit.lease)
        frames = held.picked.frames[: commit.keep]
        if len(frames) < len(held.picked.frames):
            held.trimmed = m.Trimmed(commit.lease, 0, len(frames))
        held.picked = Picked(commit.first_sample + held.picked.first, frames)
        self.committing[commit.lease] = held

    def discard(self, lease: m.Lease) -> None:
        """Take an attempt back."""
        for place in (self.staged, self.committing, self.published):
            place.pop(lease, None)

    def publish(self) -> list[m.Lease]:
        """The disk has taken what was committing."""
        leases = list(self.committing)
        for lease in leases:
            held = self.published[lease] = self.committing.pop(lease)
            self.ever_published[lease] = held.picked
        return leases

    def committed(self, leases: list[m.Lease]) -> m.Committed:
        """What is said of attempts that are published."""
        trimmed = [self.published[lease].trimmed for lease in leases]
        return m.Committed(leases=leases, trimmed=[each for each in trimmed if each is not None])
