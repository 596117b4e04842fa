"""Going on with a job in S3: what its manifest proves, with the listing against it, and the rest taken away.

What counts as a proof: ``launcher/output/completed_units.py``. Nobody merges what hosts upload, so an
output may hold frames without a row (of attempts that were never committed, or discarded after their
upload) and rows of two attempts at one range. Of shards: ``resume_shards``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from framefleet.common.job.completed import DoneVideo
from framefleet.common.libraries import Libraries
from framefleet.common.output.frame_names import SHARD, frame_pattern
from framefleet.common.output.manifest import files_in, read_part, write_part
from framefleet.common.output.packing import shards_of
from framefleet.common.output.part_file import PartError
from framefleet.common.output.shards import is_shard_path
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.launcher.aws.clients import Aws, translated
from framefleet.launcher.aws.s3 import list_objects, read_object, remove_objects
from framefleet.launcher.output.completed_units import (
    Unit,
    UnitKey,
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
from framefleet.launcher.sagemaker.output_in_use import specifications_of_no_use
from framefleet.launcher.sagemaker.prepare import SageMakerRequest, selection_of
from framefleet.launcher.sagemaker.resume_shards import Shards, prove_packed
from framefleet.launcher.sagemaker.submit import encryption, remove_spec, remove_staging

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What is taken over, and what must be changed in the output for it.

    Attributes:
        libraries: what made the frames of ``done``.
        replaced: manifest parts that lose rows, with their new content; names are below the output.
        removed: manifest parts of which nothing is left, then frames and shards that no row names.
    """

    done: list[DoneVideo] = field(default_factory=list)
    libraries: Libraries | None = None
    replaced: dict[str, bytes] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def is_all_of(self, videos: Sequence[ListedVideo]) -> bool:
        """Whether nothing is left to do."""
        whole = {video.name for video in self.done if video.is_whole}
        return all(video.name in whole for video in videos)


def look(
    aws: Aws,
    request: SageMakerRequest,
    videos: Sequence[ListedVideo],
    *,
    on_progress: OnProgress = lambda done, total: None,
) -> Taken:
    """Find out what is done of ``videos``; nothing is changed.

    The listing of all frames is held in memory: some 200 bytes for each.

    Raises:
        UserError: S3 cannot be read, frames there were made with other options or by different libraries,
            or a shard cannot stay that holds frames of a video that is gone.
    """
    output = request.output
    doing = f"--resume: reading {output}"
    with translated(doing, bucket=output.bucket), TemporaryDirectory() as folder:
        sizes = {
            f"{above}/{name}": size
            for above in ("frames", "shards")
            for name, size in list_objects(aws.s3, output.below(above))
        }
        shards = Shards(aws.s3, output, sizes)

        def size_of(file: str) -> int:
            return shards.size(file) if is_shard_path(file) else sizes.get(file, -1)

        names = [
            f"manifest/{name}"
            for name, _ in list_objects(aws.s3, output.below("manifest"))
            if name.endswith(".parquet")
        ]
        parts: dict[Path, str] = {}
        units: list[Unit] = []
        damaged: list[str] = []
        told: list[tuple[object, Libraries | None]] = []
        for number, name in enumerate(names):
            on_progress(number, len(names))
            path = Path(folder, f"{number}.parquet")
            path.write_bytes(read_object(aws.s3, output, name))
            try:
                compare_options(
                    options_of(request), read_options(path), place=f"{output}/{name}", output=output
                )
                told.append((f"{output}/{name}", read_libraries(path)))
                shards.read(path)
                units += read_units(path, size_of)
            except PartError:
                damaged.append(name)
            else:
                parts[path] = name
        libraries = agree(told, output=output)
        selection = selection_of(request)
        if request.pack is None:
            done, useless = prove(units, videos, selection)
        else:
            done, useless = prove_packed(units, shards, videos, selection)
        replaced, removed = _without(parts, by_part(useless), sizes)
    ours = frame_pattern(request.image)
    orphans = [file for file in sizes if ours.fullmatch(file)]
    lost = [shard for shard in sizes if SHARD.fullmatch(shard)]
    notes = [f"{sum(video.frames for video in done):,} frames of {len(done):,} videos are taken over"]
    if damaged:
        notes.append(f"{len(damaged)} damaged parts of the manifest are removed, the first: {damaged[0]}")
    if orphans:
        notes.append(f"{len(orphans):,} frames that the manifest does not prove are removed")
    if lost:
        notes.append(f"{len(lost):,} shards with images that the manifest does not prove are removed")
    gone = [*damaged, *removed, *orphans, *lost]
    return Taken(done=done, libraries=libraries, replaced=replaced, removed=gone, notes=tuple(notes))


def _without(
    parts: dict[Path, str], useless: dict[Path, set[UnitKey]], sizes: dict[str, int]
) -> tuple[dict[str, bytes], list[str]]:
    """Parts that lose rows, and those that lose them all; files and shards that other rows name leave
    ``sizes``."""
    replaced: dict[str, bytes] = {}
    removed: list[str] = []
    for path, name in parts.items():
        if path in useless:
            rest, _ = rows_without(path, useless[path])
            if not rest.num_rows:
                removed.append(name)
                continue
            write_part(path, rest, temporary=path.with_suffix(".tmp"))
            replaced[name] = path.read_bytes()
        kept = read_part(path, ["file", "shard"])
        for file in (*files_in(kept), *shards_of(kept)):
            sizes.pop(file, None)
    return replaced, removed


def clear(aws: Aws, request: SageMakerRequest, taken: Taken) -> None:
    """Take away what proves nothing, rows before files, and what jobs that are over have left behind.

    Raises:
        UserError: S3 refuses.
    """
    output = request.output
    with translated(f"--resume: clearing {output}", bucket=output.bucket):
        for folder in specifications_of_no_use(aws, output):
            remove_spec(aws, folder)
        remove_staging(aws, output)
        for name, content in taken.replaced.items():
            aws.s3.put_object(Bucket=output.bucket, Key=output.key(name), Body=content, **encryption(request))
        remove_objects(aws.s3, output, taken.removed)
