"""The output folder before a job: what lies there already, and what of it may go.

All of this is done under the output's lock.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.common.libraries import Libraries, otherwise_made
from framefleet.launcher.job import JobRequest
from framefleet.launcher.output.host_folders import ROOTS_PREFIX, abandoned
from framefleet.launcher.output.quarantine import FOLDER
from framefleet.launcher.output.resume import check_options, libraries_of

DEMO_MARKER = ".framefleet-demo"

_OF_FRAMES = ("frames", "shards", "manifest")


def prepare_output(request: JobRequest, *, is_demo: bool, is_local: bool = True) -> None:
    """See that a job may begin in its output, and remove there what an earlier demo has left.

    ``is_local``: whether hosts have the libraries of this process; elsewhere their coordinator has to look.

    Raises:
        UserError: it may not, or the folder may not be written to.
    """
    try:
        _prepare(request, is_demo=is_demo, is_local=is_local)
    except OSError as error:
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise UserError(f"--output {request.output} cannot be used: {reason}") from error


def _prepare(request: JobRequest, *, is_demo: bool, is_local: bool) -> None:
    output = request.output
    for name in (*_OF_FRAMES, "job", "job/logs", FOLDER):
        if (output / name).is_symlink():
            raise UserError(
                f"--output {output} has {name} as a link, and nothing is written through links there: "
                "replace it by a folder, or give the folder that --output is to be itself"
            )
    if request.resume:
        roots = abandoned(output)
        check_options(request, roots)
        made_with = libraries_of(output, roots)
        if made_with is not None and is_local:
            _check_libraries(made_with)
    else:
        if is_demo:
            _clear_earlier_demo(output)
        _check_empty(output)
    marker = output / DEMO_MARKER
    if is_demo:
        marker.touch()
    else:
        marker.unlink(missing_ok=True)


def _check_libraries(made_with: Libraries) -> None:
    from framefleet.worker.loaded_libraries import libraries  # they take 0.2 s to load

    if spoilt := otherwise_made(made_with, libraries()):
        raise UserError(f"--resume: {spoilt}")


def _check_empty(output: Path) -> None:
    for name in _OF_FRAMES:
        folder = output / name
        if folder.is_dir() and next(folder.iterdir(), None) is not None:
            raise UserError(
                f"--output {output} already holds {name}: choose another folder, or remove that one"
            )


def _clear_earlier_demo(output: Path) -> None:
    """Remove what an earlier demo left; a folder that anything else was written to has no marker."""
    if (output / DEMO_MARKER).is_file():
        for folder in [*(output / name for name in (*_OF_FRAMES, "job")), *output.glob(f"{ROOTS_PREFIX}*/")]:
            shutil.rmtree(folder, ignore_errors=True)
