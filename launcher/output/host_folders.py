"""What launchers leave in an output while they run: the folders of hosts, and when they may go."""

from __future__ import annotations

import contextlib
from pathlib import Path

ROOTS_PREFIX = ".framefleet-"


def abandoned(output: Path) -> list[Path]:
    """What launchers that were killed have left in ``output``: folders with those of hosts in them."""
    found = (path for path in output.glob(f"{ROOTS_PREFIX}*/") if not path.is_symlink())
    return sorted(path for path in found if any(path.glob("algo-*/")))


def remove_empty_roots(output: Path) -> None:
    """Remove folders of launchers that were killed before they put a host into them."""
    for path in output.glob(f"{ROOTS_PREFIX}[0-9]*/"):
        with contextlib.suppress(OSError):  # it is not empty, or a link
            path.rmdir()
