"""How many cores this process may use."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from pathlib import Path

from framefleet.common.host.cgroups import CGROUPS, OWN, read_limits


def usable_cores(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Cores that this process may use, and at least 1: those that the scheduler lets it run on, or what its
    control group's CPU time amounts to, rounded up, if that is less.

    Rounded up: 1.5 CPUs are used whole by two slots, and not by one.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    found = [len(os.sched_getaffinity(0))]
    files = {"v1": ("cpu.cfs_quota_us", "cpu.cfs_period_us"), "v2": ("cpu.max",)}
    for words in read_limits("cpu", v1=files["v1"], v2=files["v2"], cgroups=cgroups, own=own):
        with contextlib.suppress(ValueError, ZeroDivisionError):  # version 2 says "max" where 1 says -1
            quota_us, period_us = map(int, words)
            if quota_us > 0:
                found.append(max(1, math.ceil(quota_us / period_us)))
    return min(found)
