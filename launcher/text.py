"""Words for the user that need no library: how the program is called, and a complaint on one line."""

from __future__ import annotations

import sys
from pathlib import PurePath


def program() -> str:
    """How the user called this program, for advice: ``launch.py`` in a clone, else ``framefleet``."""
    return "launch.py" if PurePath(sys.argv[0]).name == "launch.py" else "framefleet"


def missing(error: ModuleNotFoundError) -> str:
    """What to do where a package is not installed. One of our own that is missing is a bug: it is raised."""
    if (error.name or "").partition(".")[0] == "framefleet":
        raise error
    remedy = "run `make demo`, or `pip install -e .` in a virtual environment (Python 3.11 or later)"
    return f"the Python package {error.name!r} is missing: {remedy}"


def printable(text: str) -> str:
    """``text`` on one line: what is not printable becomes an escape as in a Python literal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def complain(text: str) -> None:
    """One line on standard error; names in ``text`` are data."""
    print(f"Error: {printable(text)}", file=sys.stderr)


def count_of(number: int, noun: str) -> str:
    """``1 video``, ``2,000 videos``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def natural_key(name: str) -> tuple[str, int, str]:
    """Sorts algo-2 before algo-10, for people; nothing but the display may depend on it."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits[:18] or 0), name


def clock(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
