"""Errors that the user can mend: shown as one sentence, without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's or of the platform's: the text names the value and the remedy."""


EXIT_CRASHED = 70  # EX_SOFTWARE of sysexits.h: a bug, and starting the program again may help
