"""What the control groups of this process allow it, of either version: limits of containers and services."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def read_limits(
    controller: str, *, v1: Sequence[str], v2: Sequence[str], cgroups: Path = CGROUPS, own: Path = OWN
) -> Iterator[list[str]]:
    """The words of the files named, of this process's group and of each one above it that has them all.

    ``v1`` and ``v2`` name the files that hold a limit of ``controller`` in either version. A container sees
    its own group as the root, while ``own`` may show it by its path on the machine; a service on the machine
    itself is found by that path. So both are looked at.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = cgroups, v2
        elif controller in controllers.split(","):
            root, names = cgroups / controller, v1
        else:
            continue
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            with contextlib.suppress(OSError):
                yield [word for name in names for word in (root / group / name).read_text().split()]
