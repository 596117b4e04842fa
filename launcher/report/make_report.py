"""Report and trace of a finished job, made where its output lies."""

from __future__ import annotations

import os
from pathlib import Path

from framefleet.common.errors import UserError

PAGE, TRACE = "report.html", "trace.json"


def make_report(output: Path, name: str = "") -> Path:
    """Write ``job/report.html`` and ``job/trace.json`` of the job in ``output``; gives the page's path.

    ``name``: which job, where an output has a folder for each in ``job/``; they are then written there.

    Raises:
        UserError: there is no job, or the disk refuses.
    """
    from framefleet.launcher.report.chrome_trace import write_trace
    from framefleet.launcher.report.page import render  # numpy and Arrow are worth their time only now
    from framefleet.launcher.report.read_job import read_job
    from framefleet.launcher.report.thumbnails import thumbnails

    timeline = read_job(output, name)
    page = output / "job" / name / PAGE
    try:
        write_text(page, render(timeline, thumbnails(output)))
        write_trace(timeline, page.with_name(TRACE))
    except OSError as error:
        raise UserError(f"cannot write the report to {page.parent}: {error.strerror or error}") from error
    return page


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def try_report(output: Path) -> str:
    """Make the report of a job that is over; why there is none, in a sentence, or nothing if there is one.

    A job is as good without its report: whatever goes wrong here is told, and nothing more.
    """
    try:
        for name in (PAGE, TRACE):  # those of an earlier job
            (output / "job" / name).unlink(missing_ok=True)
        make_report(output)
    except UserError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a bug of the report's is not to fail the job
        return f"{type(error).__name__}: {error}"
    return ""
