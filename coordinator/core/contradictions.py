"""Videos that are not what their probe told, or not what they were when the job began.

Nothing that was made of such a video is kept, wherever it is: staged, or published already. A video whose
probe was contradicted is probed again, by another host, and done anew; it is given up when hosts go on
contradicting each other. One that changed while the job ran is given up at once, for nobody knows which of
its frames are of which state of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from framefleet.common.media import Fingerprint, VideoInfo
from framefleet.common.protocol import messages as m
from framefleet.coordinator.agreement import Agreement
from framefleet.coordinator.core.commits import Commits
from framefleet.coordinator.core.discards import Discards
from framefleet.coordinator.core.drain import Drain
from framefleet.coordinator.core.failures import Failures
from framefleet.coordinator.core.leases import Leases
from framefleet.coordinator.core.roster import Roster
from framefleet.coordinator.events import Action, Record
from framefleet.coordinator.scheduling.pool import Pool
from framefleet.coordinator.state import HELD, OPEN, Host, Unit, UnitState, Video
from framefleet.coordinator.totals import Totals

MAX_TOLD = 10_000  # attempts in the journal's line, for the report; a merge goes by the video
OTHER_FILE = (
    "is not the file of which an earlier run has made frames: the size is the same, and its beginning or its "
    "end is not; put that file back, or give another --output"
)
MAX_VOIDS = 4  # of a video, however many hosts there are that nobody has asked yet


class Contradictions:
    """Decides what becomes of a video, and of its hosts, when they do not agree on what it is."""

    def __init__(
        self,
        pool: Pool,
        leases: Leases,
        commits: Commits,
        discards: Discards,
        failures: Failures,
        drain: Drain,
        roster: Roster,
        *,
        emit: Callable[[Action], None],
    ) -> None:
        self._pool = pool
        self._leases = leases
        self._commits = commits
        self._discards = discards
        self._failures = failures
        self._drain = drain
        self._roster = roster
        self._emit = emit

    def probed(self, host: Host, unit: Unit, found: Sequence[tuple[int, VideoInfo]]) -> list[tuple[int, str]]:
        """A host has told what videos are; they can be cut from now on, unless others outvote it.

        Returns:
            Those that are refused, as they are not what an earlier run has made frames of, and why.
        """
        others = [
            (index, OTHER_FILE)
            for index, info in found
            if self._pool.earlier.is_of_other_file(index, info.checksum)
        ]
        found = [(index, info) for index, info in found if (index, OTHER_FILE) not in others]
        # a video that is looked at anew was read by those that are to be avoided
        unread = sum(self._pool.videos[index].agreement is None for index, _ in found)
        for name in sorted(unit.avoid - {host.name}):
            self._drain.contradicted(name, unread)
        for index, info in found:
            video, told = self._pool.videos[index], info.fingerprint
            agreement = video.agreement
            if agreement is None:
                video.agreement = Agreement(told, {host.name: told})
            else:
                agreement.told = told
                self._look(agreement, host.name, told)
                leading = agreement.leading()
                if leading is not None:
                    self._outvoted(agreement, leading)
                if leading not in (None, told):
                    agreement.voids += 1
                    self._ask_again(index, agreement)
                    continue
            self._pool.probed(index, info)
        return others

    def agreed(self, host: Host, video: Video) -> None:
        """A host has done a part of a video, so it has found what it was told."""
        agreement = video.agreement
        assert agreement is not None
        if agreement.views.get(host.name) is not agreement.told:
            self._look(agreement, host.name, agreement.told)

    def end(self, host: Host, unit: Unit, failed: m.Failed) -> bool:
        """An extraction failed; the answer is whether that was the end of all units of its video."""
        if failed.kind == "changed":
            self._changed(unit, failed)
            return True
        return failed.kind == "contradiction" and self._contradicted(host, unit, failed)

    def _contradicted(self, host: Host, unit: Unit, failed: m.Failed) -> bool:
        """A host finds a video to be something else than its probe told; False if others outvote the host."""
        agreement = self._pool.videos[unit.video].agreement
        assert agreement is not None
        if failed.found is None or failed.found == agreement.told:
            return False
        self._look(agreement, host.name, failed.found)
        if agreement.leading() == agreement.told:
            self._outvoted(agreement, agreement.told)
            return False
        self._void(unit.video, f"on host {host.name} it is not what its probe told")
        agreement.voids += 1
        self._ask_again(unit.video, agreement)
        return True

    def _changed(self, unit: Unit, failed: m.Failed) -> None:
        """A host finds that a file has changed since it first opened it."""
        self._void(unit.video, failed.text)
        self._failures.refuse(unit.video, kind="lost", reason=failed.text, attempts=unit.attempt)

    # ---- who is right -------------------------------------------------------------------------------

    def _ask_again(self, index: int, agreement: Agreement) -> None:
        """Have a video probed by a host that can decide, or give it up if there is none."""
        leading = agreement.leading()
        others = self._roster.expects(agreement.views.keys())
        if agreement.voids >= MAX_VOIDS or (leading is None and not others and agreement.voids > 1):
            reason = f"hosts do not agree on what it is: {agreement}"
            self._failures.refuse(index, kind="lost", reason=reason, attempts=agreement.voids)
            return
        if leading is not None:
            avoid = agreement.against(leading)
        elif others:
            avoid = frozenset(agreement.views)
        else:  # whoever contradicted is to tell, and those who were contradicted are to look again
            avoid = frozenset(agreement.views) - agreement.against(agreement.told)
        self._pool.probe_again(index, avoid, for_others=self._roster.expects(avoid))

    def _look(self, agreement: Agreement, name: str, found: Fingerprint) -> None:
        if agreement.look(name, found):
            self._drain.outvoted(name)

    def _outvoted(self, agreement: Agreement, right: Fingerprint) -> None:
        """Blame whoever found something else than what is ``right``, once."""
        for name in sorted(agreement.against(right)):
            del agreement.views[name]
            self._drain.outvoted(name)

    # ---- taking back --------------------------------------------------------------------------------

    def _void(self, index: int, reason: str) -> None:
        """Take back all that this job has made of a video."""
        pool, video = self._pool, self._pool.videos[index]
        video.all_cut = False  # it is not settled by what is taken back here
        attempts: list[tuple[int, int, str]] = []
        for number in video.units:
            unit = pool.units[number]
            if unit.host is not None and (unit.state in HELD or unit.state is UnitState.DONE):
                attempts.append((unit.id, unit.attempt, unit.host))
                self._discards.take_back(unit)
            if unit.state in OPEN:
                self._leases.drop(unit)
            elif unit.state is UnitState.DONE and unit.host is not None:
                unit.move("void")
        self._emit(
            Record(
                entry={
                    "event": "voided",
                    "video": video.listed.name,
                    "reason": reason,
                    "attempts": attempts[:MAX_TOLD],
                }
            )
        )
        if video.agreement is not None:
            self._commits.totals.subtract(video.agreement.written)
            video.agreement.written = Totals()
        self._failures.forget(index)
        pool.unknow(index)
