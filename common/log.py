"""Lines for people on standard error, by Python's ``logging``; what programs read is on standard output."""

from __future__ import annotations

import logging
from typing import Final

LOG: Final = logging.getLogger("framefleet")


def set_up_logging() -> None:
    """Show messages from ``info`` on. To be called by programs, once, after ``startup.set_up``."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("framefleet: %(message)s"))
    LOG.handlers[:] = [handler]
    set_level("info")


def set_level(level: str) -> None:
    """Show messages from ``level`` on, one of ``LogLevel``."""
    LOG.setLevel(level.upper())
