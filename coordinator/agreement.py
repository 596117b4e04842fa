"""What hosts say that a video is, and whom to believe when they differ.

A probe is one host's word, and every host that opens the file looks for itself. So each look is a vote for a
fingerprint, one for each host, the latest; two hosts that agree outvote one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from framefleet.common.media import Fingerprint
from framefleet.coordinator.totals import Totals

QUORUM = 2  # hosts that agree; the word of one that is contradicted counts for nothing


@dataclass(slots=True)
class Agreement:
    """What is known of who said what about a video that is not done yet.

    Attributes:
        told: the fingerprint that the present probe gave, which all attempts are told.
        views: what each host found when it looked last.
        voids: how often the video was begun anew because its probe was contradicted.
        written: what is published of it.
    """

    told: Fingerprint
    views: dict[str, Fingerprint]
    voids: int = 0
    written: Totals = field(default_factory=Totals)

    def look(self, host: str, found: Fingerprint) -> bool:
        """A host has looked; the answer is whether it takes back what it said before."""
        before = self.views.get(host)
        self.views[host] = found
        return before is not None and before != found

    def leading(self) -> Fingerprint | None:
        """The fingerprint for which ``QUORUM`` hosts speak, and more than for any other, if there is one."""
        (first, votes), *others = Counter(self.views.values()).most_common(2)
        if votes < QUORUM or any(votes == second for _, second in others):
            return None
        return first

    def against(self, found: Fingerprint) -> frozenset[str]:
        """The hosts that found something else."""
        return frozenset(host for host, view in self.views.items() if view != found)

    def __str__(self) -> str:
        """Who found what, for the user."""
        hosts: dict[Fingerprint, list[str]] = {}
        for host, view in sorted(self.views.items()):
            hosts.setdefault(view, []).append(host)
        return "; ".join(f"{view} on {', '.join(names)}" for view, names in hosts.items())
