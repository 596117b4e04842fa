"""Options of the command line, by what they are about, and what each makes of a job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def names_of(decorator: Callable[[Any], Any]) -> tuple[str, ...]:
    """The parameters that a decorator of options gives a command."""
    return tuple(parameter.name for parameter in decorator(lambda: None).__click_params__)
