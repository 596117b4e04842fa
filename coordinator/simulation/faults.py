"""What goes wrong in a world, and when: drawn from a seed, and over at a known time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Faults per host and hour of virtual time, until ``calm_after_s``.

    From then on nothing new goes wrong, and every host that has died and is to come back has come back
    ``back_s`` later at the latest; so each run must end.
    """

    slot_crashes: float = 0.0
    deaths: float = 0.0
    pauses: float = 0.0
    breaks: float = 0.0
    cut_offs: float = 0.0
    slowings: float = 0.0
    broken_disks: float = 0.0
    lies: float = 0.0
    bad_copies: float = 0.0
    back_s: float = 60.0
    lost_for_good: float = 0.2
    """Share of deaths after which a host does not come back, as long as two others are there."""
    calm_after_s: float = 300.0

    @property
    def rates(self) -> dict[str, float]:
        """Faults per host and hour, by their name."""
        return {
            "slot_crash": self.slot_crashes,
            "death": self.deaths,
            "pause": self.pauses,
            "break": self.breaks,
            "cut_off": self.cut_offs,
            "slowing": self.slowings,
            "broken_disk": self.broken_disks,
            "lie": self.lies,
            "bad_copies": self.bad_copies,
        }


CALM = Faults(calm_after_s=0.0)
