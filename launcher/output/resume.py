"""Going on with a job that was stopped, in a folder: what its output proves done, and the rest taken away.

What counts as a proof: ``launcher/output/completed_units.py``.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below, read_file
from framefleet.common.host.layout import Layout
from framefleet.common.job.completed import NOTHING_DONE, Done
from framefleet.common.job.selection import RANGES_FILE, TIMESTAMPS_FILE, Selection
from framefleet.common.job.spec import JobSpec
from framefleet.common.libraries import Libraries
from framefleet.common.output.frame_names import SHARD, frame_pattern
from framefleet.common.output.manifest import files_in, write_part
from framefleet.common.output.packing import ShardNames, remove_unnamed, repack_part, shards_of
from framefleet.common.output.part_file import PartError
from framefleet.common.output.shards import Readers, extent, is_shard_path
from framefleet.coordinator.catalogue import list_videos, select
from framefleet.launcher.job import JobRequest
from framefleet.launcher.output.completed_units import (
    Unit,
    agree,
    by_part,
    compare_options,
    prove,
    read_libraries,
    read_options,
    read_units,
    rows_without,
)
from framefleet.launcher.output.job_fingerprint import options_of
from framefleet.launcher.output.merge import HostOutput, merge
from framefleet.launcher.output.quarantine import move_aside, set_aside

SPEC_PATH = Layout(Path()).job_spec
OUTPUT_PATH = Layout(Path()).output
MAX_SPEC_BYTES = 2**24  # ours have some thousand

OnProgress = Callable[[int, int], None]
Note = Callable[[str], None]


def check_options(request: JobRequest, roots: Sequence[Path]) -> None:
    """See that the frames in the output, and those of jobs whose launcher was killed (``roots``), are what
    the request asks for.

    Raises:
        UserError: an option differs that decides on frames; it names the option and both values.
    """
    mine = options_of(request)
    for path, theirs in _options_found(request.output, roots):
        compare_options(mine, theirs, place=path, output=request.output)


def libraries_of(output: Path, roots: Sequence[Path] = ()) -> Libraries | None:
    """What made the frames in the output, and of jobs whose launcher was killed; None if there are none.

    Raises:
        UserError: a part of the manifest does not tell it, or two differ.
    """

    def found() -> Iterator[tuple[Path, Libraries | None]]:
        hosts = (part for root in roots for host in root.iterdir() for part in _parts(host / OUTPUT_PATH))
        for part in (*_parts(output), *hosts):
            with contextlib.suppress(PartError):  # nothing of it is taken over
                yield part, read_libraries(part)

    return agree(found(), output=output)


def take_over(
    request: JobRequest,
    *,
    roots: Sequence[Path],
    check: bool = False,
    on_progress: OnProgress = lambda done, total: None,
    note: Note = lambda text: None,
) -> Done:
    """Tell what is done, after removing rows and files that prove nothing from the output.

    Outputs of hosts whose launcher was killed (``roots``) are merged into it first. Damaged parts of the
    manifest are set aside, and ``note`` is given a sentence on each. ``check``: images are read, and compared
    with what their rows say; else their sizes alone.

    Raises:
        UserError: the output or the input cannot be read, or the output cannot be changed, or its frames
            were made with different libraries.
    """
    try:
        for folder in roots:
            _recover(folder, request.output, on_progress, note)
        units = list(_read_units(request.output, check, on_progress, note))
        if not units:
            return NOTHING_DONE
        libraries = libraries_of(request.output)
        files = request.sampling.files
        selection = Selection(
            request.sampling.options,
            timestamps=files.get(TIMESTAMPS_FILE, b""),
            ranges=files.get(RANGES_FILE, b""),
        )
        done, useless = prove(units, select(list_videos(request.input), selection).videos, selection)
        _remove(request, useless)
    except OSError as error:
        reason = f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        raise UserError(f"--resume: cannot go on in {request.output}: {reason}") from error
    return Done(done, libraries) if _parts(request.output) else NOTHING_DONE


# ---- the output -------------------------------------------------------------------------------------


def _parts(output: Path) -> list[Path]:
    return sorted((output / "manifest").glob("*.parquet"))


def _options_found(output: Path, roots: Sequence[Path]) -> Iterator[tuple[Path, dict[str, str] | None]]:
    for path in _parts(output):
        try:
            yield path, read_options(path)
        except PartError:
            continue  # nothing of it is taken over
    for root in roots:
        found = _read_spec(root)
        if found is not None:
            path, spec = found
            yield path, spec.frame_options or None


def _read_spec(root: Path) -> tuple[Path, JobSpec] | None:
    """The specification of a job whose launcher was killed, the same for all its hosts, and where it is; None
    if there is none that can be read, as after a power cut."""
    for path in sorted(root.glob(f"*/{SPEC_PATH}")):
        with contextlib.suppress(OSError, *NOT_DECODED):
            return path, msgspec.json.decode(read_file(path, MAX_SPEC_BYTES), type=JobSpec)
    return None


def _recover(root: Path, output: Path, on_progress: OnProgress, note: Note) -> None:
    """Do what a launcher that was killed could not: merge the outputs of its hosts."""
    hosts = sorted(path.name for path in root.iterdir() if (path / SPEC_PATH).is_file())
    if hosts:
        found = _read_spec(root)
        if found is None:
            # without it nobody knows which frames these are, so they prove nothing
            kept = move_aside(root, output, name=root.name.lstrip("."))
            note(f"{root.name} is left of a job whose specification is damaged: kept as {kept}, and not used")
            return
        _, spec = found
        outputs = [HostOutput(host, root / host / OUTPUT_PATH) for host in hosts]
        merged = merge(
            outputs,
            output,
            mode=spec.mode,
            primary=hosts[0],
            sampling=spec.sampling,
            pack=spec.pack,
            on_progress=on_progress,
        )
        for text in merged.damaged:
            note(f"{text}: its frames are made again")
    shutil.rmtree(root, ignore_errors=True)


def _read_units(output: Path, check: bool, on_progress: OnProgress, note: Note) -> Iterator[Unit]:
    paths = _parts(output)
    shards: dict[str, int] = {}
    with Below(output) as below, Readers(output) as readers:

        def size_of(file: str) -> int:
            if not is_shard_path(file):
                return below.size(file)
            if file not in shards:
                shards[file] = extent(below, file)
            return shards[file]

        for count, path in enumerate(paths):
            on_progress(count, len(paths))
            try:
                yield from read_units(path, size_of, readers.read if check else None)
            except PartError as error:
                note(f"{set_aside(error, output)}: its frames are made again")


def _remove(request: JobRequest, units: Sequence[Unit]) -> None:
    """Take rows that prove nothing out of the manifest, then the images that no other row names."""
    output, pack = request.output, request.pack
    frame, lost = frame_pattern(request.image), set[str]()
    for path, gone in by_part(units).items():
        rest, taken = rows_without(path, gone)
        shards = shards_of(taken)
        lost.update(shard for shard in shards if SHARD.fullmatch(shard))
        if pack is None:
            lost.update(file for file in files_in(taken) if frame.fullmatch(file))
        if not rest.num_rows:
            path.unlink()
        elif shards and pack is not None:
            prefix = path.stem.rpartition("-")[0]
            folder = output / "shards"
            name = ShardNames(folder, prefix, pack.format)
            lost.update(repack_part(output, path, rest, pack, name=name, temporary=folder))
        else:
            write_part(path, rest, temporary=path.with_name(f".{path.name}.tmp"))
    remove_unnamed(output, lost, _parts(output))
