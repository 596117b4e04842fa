"""Words for the user that need no library: how the program is called, and a complaint on one line."""

from __future__ import annotations

import sys
from pathlib import PurePath


def program() -> str:
    """How the user called this program, for advice: ``launch.py`` in a clone, else ``framefleet``."""
    return "launch.py" if PurePath(sys.argv[0]).name == "launch.py" else "framefleet"


def complain(text: str) -> None:
    """One line on standard error; what is not printable in ``text`` (names are data) is escaped."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    print(f"Error: {line}", file=sys.stderr)
