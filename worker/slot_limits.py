"""Limits on a slot process: memory, and time without progress.

A damaged file may make a decoder or demuxer ask for gigabytes, or never return. The agent therefore watches
each slot from outside, since a slot that hangs in C code may well hold the interpreter's lock: its resident
memory, and a counter in shared memory that ``beat`` increments at every packet. A slot beyond a limit is
killed; that counts as a crash of its unit. Work that goes on without getting any further, reading the same
packets for ever, is given far longer: the way to a range may lead through hours of video.

Behind the memory limit stands a hard one, for what grows faster than the agent looks: RLIMIT_DATA. It
counts private writable memory, so what malloc and anonymous mmap give, touched or not. RLIMIT_AS would count
libraries, other processes' shared memory and address space that glibc merely reserves for each thread, of
which there is far more than memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framefleet.common.host.cgroups import CGROUPS, OWN, read_limits
from framefleet.common.job.spec import LimitOptions

DEFAULT_MEMORY_BYTES: Final = 2 * 2**30  # five times what a 4K film may take; 8K HEVC with 16 references fits
LEAST_MEMORY_BYTES: Final = 512 * 2**20  # 4K films must work on any host
MEMORY_SHARE: Final = 0.8  # of the host's memory, for all slots: agent, coordinator and file cache need some
MAX_BLOCK_BYTES: Final = 2**31 - 1  # libav asks for no more at once (av_max_alloc)

CIRCLING: Final = 30  # times the limit without progress, for work that goes on but gets no further

START_S: Final = 120.0  # in which a new process loads its libraries, perhaps from a network's disk

LOOK_S: Final = 0.5
MAX_STEP_S: Final = 2.0  # an agent that did not look for longer was itself stopped or held up

EXIT_OUT_OF_MEMORY: Final = 86  # of a slot process; no shell or signal has it
OOM_SCORE: Final = "500"  # of 1000: if the kernel must kill, then a slot, not its agent or the coordinator

_PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Limits:
    """What one slot process may use.

    Attributes:
        memory_bytes: resident memory.
        no_progress_s: seconds in which no packet is read, and nothing is said to the agent.
    """

    memory_bytes: int
    no_progress_s: float


def limits_for(options: LimitOptions, *, slots: int, host_bytes: int | None) -> Limits:
    """The limits of each of ``slots`` slots on a host with ``host_bytes`` of memory (None: unknown)."""
    if options.memory_mib is not None:
        memory_bytes = options.memory_mib * 2**20
    else:
        memory_bytes = DEFAULT_MEMORY_BYTES
        if host_bytes is not None:
            share_bytes = int(host_bytes * MEMORY_SHARE) // slots
            memory_bytes = max(LEAST_MEMORY_BYTES, min(memory_bytes, share_bytes))
    return Limits(memory_bytes, options.no_progress_s)


def host_memory_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int | None:
    """What this host or container has: the machine's memory, or its control group's limit if that is less."""
    found: list[int] = []
    with contextlib.suppress(ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES)
    names = {"v1": ["memory.limit_in_bytes"], "v2": ["memory.max"]}
    for words in read_limits("memory", v1=names["v1"], v2=names["v2"], cgroups=cgroups, own=own):
        with contextlib.suppress(ValueError):  # "max" is no number
            found.append(int("".join(words)))
    return min(found, default=None)


# ---- in the slot process ----------------------------------------------------------------------------

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
_beats = ctypes.c_uint64()
_data_limit_bytes: int | None = None


def beat() -> None:
    """Say that the work goes on: to be called for every packet, and between other long steps (0.07 us)."""
    _beats.value += 1


def enter(limits: Limits, beats: ctypes.c_uint64) -> None:
    """Put this process under ``limits``, with ``beats`` in memory that it shares with the agent."""
    global _beats, _data_limit_bytes
    _beats = beats
    gc.freeze()  # the libraries' objects are here for ever: nobody need look at them again
    data_bytes = _data_bytes()
    if data_bytes is not None:
        _data_limit_bytes = data_bytes + limits.memory_bytes
        # Within the memory limit every block fits that libav may ask for: whatever the host's memory, damage
        # and not the limit decides what a decoder does.
        _lower_limit(resource.RLIMIT_DATA, _data_limit_bytes + MAX_BLOCK_BYTES)
    if sys.platform == "linux":
        # A slot that hangs with the interpreter's lock held cannot notice that its agent is gone; the fork
        # server, its parent, does and ends.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)


def give_back_memory() -> None:
    """Return to the system what is free but kept for later; to be called when a file is closed (3 ms).

    Objects that refer to each other keep a closed file's decoder, and its pictures, until Python collects
    them, which it does by their number and not by their size. And large pictures teach glibc to take blocks
    of their size from its heap, which then stays as large as it ever was: 360 MiB instead of 80 after a
    hundred small files of many kinds.
    """
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)


def check_memory(error: Exception) -> None:
    """To be called when libav has refused something: pass on a lack of memory, which is no damage.

    libav says the same (ENOMEM) when a damaged file has made it ask for more than it ever allocates.

    Raises:
        MemoryError: this process has passed its memory limit.
    """
    if not isinstance(error, MemoryError) or _data_limit_bytes is None:
        return
    data_bytes = _data_bytes()
    if data_bytes is None or data_bytes > _data_limit_bytes:
        raise MemoryError("the slot has passed its memory limit") from error


def _lower_limit(kind: int, to_bytes: int) -> None:
    soft, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        to_bytes = min(to_bytes, hard)
    if soft == resource.RLIM_INFINITY or to_bytes < soft:
        resource.setrlimit(kind, (to_bytes, hard))


def _data_bytes() -> int | None:
    """What RLIMIT_DATA counts, for this process; None where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE_BYTES
    except OSError:
        return None


# ---- in the agent -----------------------------------------------------------------------------------


class Watch:
    """What the agent has seen of one slot process, look by look."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._looked_at: float | None = None
        self._beats = 0
        self._stalled_s = 0.0
        self._reached: object = None
        self._circled_s = 0.0

    def look(
        self,
        now: float,
        *,
        up: bool,
        busy: bool,
        beats: int,
        reached: object,
        resident_bytes: int | None,
    ) -> str | None:
        """Take note of a slot's state; if it is beyond a limit, say so: "used 2.1 GiB of memory (...)".

        ``up``: it has started, and may be ``busy``. ``beats`` changes while it makes progress, ``reached``
        when it gets further. Time counts only as far as the agent looks: while the whole host is suspended,
        nobody stalls.
        """
        limits = self._limits
        step_s = 0.0 if self._looked_at is None else min(now - self._looked_at, MAX_STEP_S)
        self._looked_at = now
        if (busy or not up) and beats == self._beats:
            self._stalled_s += step_s
        else:
            self._stalled_s = 0.0
        self._circled_s = self._circled_s + step_s if busy and reached == self._reached else 0.0
        self._beats, self._reached = beats, reached
        if resident_bytes is not None and resident_bytes > limits.memory_bytes:
            used, limit = in_gib(resident_bytes), in_gib(limits.memory_bytes)
            return f"used {used} of memory (the limit for a slot is {limit})"
        if not up:
            return f"did not start within {START_S:.0f} s" if self._stalled_s > START_S else None
        if self._stalled_s > limits.no_progress_s:
            return f"made no progress for {self._stalled_s:.0f} s (the limit is {limits.no_progress_s:g} s)"
        longest_s = CIRCLING * limits.no_progress_s
        if self._circled_s > longest_s:
            return f"was busy for {self._circled_s:.0f} s and got no further (the limit is {longest_s:g} s)"
        return None


def resident_bytes(pid: int) -> int | None:
    """Resident memory of a process; None if it has died, or where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def in_gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
