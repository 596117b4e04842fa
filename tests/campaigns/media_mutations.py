"""The mutation campaign: thousands of damaged files; each gives frames or a reason, within bounds.

``python -m tests.campaigns.media_mutations --count 3000 --seed 1`` damages clips of every container (those of
``tests.helpers.clips``, and small real ones from ``--videos`` if there are), probes and extracts each mutant
in a process like a slot, and lists what must not be: hangs, crashes, exceptions that are no ``MediaError``,
files outside the folder given, memory beyond the bound, neither frames nor a reason. Every fifth mutant is
also extracted in pieces. Faulty mutants are kept in ``--keep``; ``--only N`` does one mutant again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from framefleet.worker.slot_limits import resident_bytes
from tests.campaigns.media_mutators import Source, mutate, read_source
from tests.helpers import clips

REPOSITORY = Path(__file__).resolve().parents[2]
VIDEOS = REPOSITORY.parent / "shared" / "videos" / "clips"

CASE_S = 60.0  # of wall time for one mutant, on a machine that does other things too
ENOUGH_BYTES = 400 * 2**20  # of memory, for pictures up to 4K
UHD_PIXELS = 3840 * 2160
BYTES_PER_PIXEL = 40  # beyond 4K: 16 reference pictures of 1.5 bytes, and what conversion and encoding hold
KILL_BYTES = 3 * 2**30
SMALL_BYTES = 150_000  # real clips above this take long, and are as well damaged in their first part
CUT_EVERY = 5
POLL_S = 0.2

Fault = Literal["hang", "crash", "exception", "stray file", "memory", "nothing", "rows"]

# The clips of tests.helpers.clips in containers that it does not use itself.
MORE_CLIPS: dict[str, Callable[[Path], Path]] = {
    "h264.flv": clips.h264_closed,
    "h264.ts": clips.h264_open,
    "h264.h264": clips.h264_open,
    "h264.mov": clips.h264_open,
    "h264.avi": clips.h264_no_b,
    "h264.mxf": clips.h264_closed,
    "hevc.hevc": clips.hevc_open,
    "hevc.ts": clips.hevc_open,
    "mpeg2.mpg": clips.mpeg2_ts,
    "mpeg2.m2v": clips.mpeg2_ts,
    "mpeg2.nut": clips.mpeg2_ts,
    "mpeg4.3gp": clips.mpeg4_avi,
    "mpeg4.asf": clips.mpeg4_avi,
    "vp9.ivf": clips.vp9,
}


class Answer(msgspec.Struct, kw_only=True):
    """What the process says of one mutant.

    Attributes:
        reasons: sentences of ``MediaError``.
        faults: (kind, what was seen).
        cut: differences between the frames of the whole and of the pieces; None: not compared.
    """

    frames: int = 0
    suspect: int = 0
    reasons: list[str] = []
    faults: list[tuple[Fault, str]] = []
    cut: list[str] | None = None
    pixels: int = 0
    before_bytes: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0


class Outcome(msgspec.Struct, kw_only=True):
    """One mutant and what came of it."""

    number: int
    source: str
    story: str
    answer: Answer

    @property
    def verdict(self) -> str:
        answer = self.answer
        if answer.faults:
            return answer.faults[0][0]
        if answer.frames:
            return "frames and a reason" if answer.reasons else "frames"
        return "refused"


def generated_sources(folder: Path) -> list[Source]:
    """Sources that need nothing but PyAV's encoders."""
    folder.mkdir(parents=True, exist_ok=True)
    made = clips.make_all(folder)
    made |= {name: make(folder / name) for name, make in MORE_CLIPS.items()}
    return [read_source(path) for path in sorted(made.values())]


def real_sources(folder: Path) -> list[Source]:
    """Small real clips of a folder, and of every container the first part of one large one."""
    paths = sorted(path for path in folder.glob("*.*") if path.stat().st_size <= SMALL_BYTES)
    kinds = {path.suffix for path in paths}
    for path in sorted(folder.glob("*.*"), key=lambda path: path.stat().st_size):
        if path.suffix not in kinds:
            kinds.add(path.suffix)
            paths.append(path)
    return [read_source(path, at_most=2 * SMALL_BYTES) for path in sorted(paths)]


class Campaign:
    """Mutants, one after the other, in a process that is started again when it dies."""

    def __init__(self, sources: Sequence[Source], *, seed: int, work: Path, keep: Path | None) -> None:
        self._sources = sources
        self._seed = seed
        self._work = work
        self._keep = keep
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = work / "stderr"

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def run(self, number: int, *, cut: bool) -> Outcome:
        """Make mutant ``number`` and see what comes of it."""
        mutant = mutate(self._sources, self._seed, number)
        folder = self._work / str(number)
        folder.mkdir()
        path = folder / f"mutant.{mutant.kind}"
        path.write_bytes(mutant.data)
        (folder / "frames").mkdir()
        answer = self._ask(path, folder / "frames", cut=number if cut else None)
        stray = {entry.name for entry in folder.iterdir()} - {path.name, "frames"}
        if stray:
            answer.faults.append(("stray file", f"beside the folder for frames: {sorted(stray)}"))
        _check_memory(answer)
        if self._keep is not None and (answer.faults or answer.cut):
            self._keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, self._keep / f"{self._seed}-{number}.{mutant.kind}")
        shutil.rmtree(folder)
        return Outcome(number=number, source=mutant.source, story=mutant.story, answer=answer)

    def _ask(self, path: Path, folder: Path, *, cut: int | None) -> Answer:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        request = json.dumps({"path": str(path), "folder": str(folder), "cut": cut}) + "\n"
        began = time.monotonic()
        process.stdin.write(request.encode())
        process.stdin.flush()
        while True:
            ready, _, _ = select.select([process.stdout], [], [], POLL_S)
            seconds = time.monotonic() - began
            if ready:
                line = process.stdout.readline()
                if line:
                    return msgspec.json.decode(line, type=Answer)
                code = process.wait()
                return self._died("crash", f"ended with code {code}", seconds)
            used = resident_bytes(process.pid) or 0
            if used > KILL_BYTES:
                return self._died("memory", f"used {used >> 20} MiB", seconds)
            if seconds > CASE_S:
                return self._died("hang", f"no answer for {CASE_S:.0f} s", seconds)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.campaigns.media_mutant_slot"],
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        return self._process

    def _died(self, kind: Fault, what: str, seconds: float) -> Answer:
        """End the process; say where it was, by its Python traceback."""
        assert self._process is not None
        if self._process.poll() is None:
            told = self._errors.stat().st_size
            self._process.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 2
            while self._errors.stat().st_size == told and time.monotonic() < deadline:
                time.sleep(0.01)
        self._end()
        trace = self._errors.read_text(errors="backslashreplace").strip()
        return Answer(faults=[(kind, f"{what}\n{trace}")], seconds=seconds)

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.communicate()


def _check_memory(answer: Answer) -> None:
    bound = ENOUGH_BYTES + BYTES_PER_PIXEL * max(0, answer.pixels - UHD_PIXELS)
    if answer.peak_bytes > bound:
        used, before = answer.peak_bytes >> 20, answer.before_bytes >> 20
        answer.faults.append(("memory", f"peak {used} MiB ({before} before), above {bound >> 20} MiB"))


def write_mutants(sources: Sequence[Source], folder: Path, *, seed: int, count: int) -> list[str]:
    """Write mutants as the input of a job; their names."""
    names = []
    for number in range(count):
        mutant = mutate(sources, seed, number)
        names.append(f"{number:04d}.{mutant.kind}")
        (folder / names[-1]).write_bytes(mutant.data)
    return names


def summary(outcomes: Sequence[Outcome]) -> str:
    """The campaign in words: how many of what, every fault, and what was slowest and largest."""
    if not outcomes:
        return "no mutants"
    verdicts = collections.Counter(outcome.verdict for outcome in outcomes)
    lines = [f"{len(outcomes)} mutants: " + ", ".join(f"{n} {what}" for what, n in verdicts.most_common())]
    frames = sum(outcome.answer.frames for outcome in outcomes)
    suspect = sum(outcome.answer.suspect for outcome in outcomes)
    compared = [outcome for outcome in outcomes if outcome.answer.cut is not None]
    differ = [outcome for outcome in compared if outcome.answer.cut]
    slowest = max(outcomes, key=lambda outcome: outcome.answer.seconds)
    largest = max(outcomes, key=lambda outcome: outcome.answer.peak_bytes)
    lines += [
        f"{frames} frames, {suspect} of them suspect",
        f"cut in pieces: {len(differ)} of {len(compared)} differ",
        f"slowest: {slowest.answer.seconds:.1f} s, mutant {slowest.number} of {slowest.source}",
        f"largest: {largest.answer.peak_bytes >> 20} MiB, mutant {largest.number} of {largest.source}",
    ]
    for outcome in outcomes:
        for kind, what in outcome.answer.faults:
            lines.append(f"\n{kind.upper()}: mutant {outcome.number} of {outcome.source} ({outcome.story})")
            lines.append(what)
    for outcome in differ:
        lines.append(f"\nCUT: mutant {outcome.number} of {outcome.source} ({outcome.story})")
        lines += outcome.answer.cut or []
    return "\n".join(lines)


def run_campaign(
    sources: Sequence[Source],
    *,
    seed: int,
    numbers: Sequence[int],
    keep: Path | None = None,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run mutants ``numbers`` of a campaign."""
    outcomes = []
    with (
        tempfile.TemporaryDirectory() as work,
        Campaign(sources, seed=seed, work=Path(work), keep=keep) as campaign,
    ):
        for number in numbers:
            outcomes.append(campaign.run(number, cut=number % CUT_EVERY == 0))
            on_outcome(outcomes[-1])
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--only", type=int, help="this mutant and no other")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--videos", type=Path, default=VIDEOS, help="folder of real clips")
    parser.add_argument("--generated", action="store_true", help="no real clips")
    parser.add_argument("--keep", type=Path, help="where faulty mutants are kept")
    parser.add_argument("--report", type=Path, help="a line of JSON for each mutant")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as files:
        sources = generated_sources(Path(made))
        if not options.generated and options.videos.is_dir():
            sources += real_sources(options.videos)
        report = files.enter_context(options.report.open("a")) if options.report else None

        def tell(outcome: Outcome) -> None:
            if report is not None:
                report.write(msgspec.json.encode(outcome).decode() + "\n")
                report.flush()
            if outcome.answer.faults:
                print(f"{outcome.verdict}: mutant {outcome.number} of {outcome.source}", flush=True)

        if options.only is not None:
            numbers: Sequence[int] = [options.only]
        else:
            numbers = range(options.first, options.first + options.count)
        outcomes = run_campaign(
            sources, seed=options.seed, numbers=numbers, keep=options.keep, on_outcome=tell
        )
    print(summary(outcomes))
    return 1 if any(outcome.answer.faults for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
