"""What the job of an output has told of it: how many frames there are to be."""

from __future__ import annotations

from pathlib import Path

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below
from framefleet.common.status import Summary
from framefleet.launcher.output.combine_summaries import combine_summaries
from framefleet.launcher.read_account import MAX_SUMMARY_BYTES


def read_account(root: Path, files: list[str]) -> Summary:
    """The summary of the job that went on last; ``files``: all that there are, by their paths below ``root``.

    A sharded job has one for each host, which is made one by the launcher, if there was one. In S3 each of
    the jobs that went on with one another has a folder.

    Raises:
        UserError: there is none, or one cannot be read; the text begins with its path.
    """
    if not files:
        raise UserError("job/summary.json: missing: nothing tells how many frames there should be")
    if "job/summary.json" in files:
        return _read(root, "job/summary.json")
    by_run: dict[str, list[Summary]] = {}
    for file in files:
        by_run.setdefault(file.split("/")[1], []).append(_read(root, file))
    last = max(by_run.values(), key=lambda shares: min(share.started_at for share in shares))
    return last[0] if len(last) == 1 else combine_summaries(last, missing=[])


def _read(root: Path, file: str) -> Summary:
    try:
        with Below(root) as below, below.open(file) as stream:
            return msgspec.json.decode(stream.read(MAX_SUMMARY_BYTES), type=Summary)
    except (OSError, *NOT_DECODED) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
