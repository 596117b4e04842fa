"""Publishing: staged frames become files of the output, and rows of the manifest, for good.

Files are renamed into place and brought to the disk, then the manifest part that names them is replaced as
a whole. Whatever kills the process or the machine, every part is readable and every row's file is there; a
file without a row can only be left by a death between the two, and is written again, the same, by whoever
does the unit next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.files.durable import sync_filesystem
from framefleet.common.host.layout import OPTIONS_KEY, Layout
from framefleet.common.libraries import LIBRARIES_KEY, Libraries
from framefleet.common.log import LOG
from framefleet.common.media import FrameRow
from framefleet.common.output.frame_names import DEFAULT_TEMPLATE, FrameNames
from framefleet.common.output.manifest import files_in, schema, sortable_schema, write_part
from framefleet.common.output.packing import (
    ShardNames,
    name_shards,
    next_number,
    remove,
    remove_nameless_bundles,
    remove_unnamed,
    repack_part,
    shards_of,
    withdraw,
)
from framefleet.common.output.part_file import read_table
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.output.shards import BUNDLE, is_bundle
from framefleet.common.output.video_names import safe_component
from framefleet.worker.publishing.publication import WHOLE_VIDEO, Extent, Key, Publication, table_of
from framefleet.worker.publishing.shard_packer import ShardPacker
from framefleet.worker.staging import STAGED_BUNDLE

# It takes 0.2 s to load, which a host can spend while its first frames are being made.
if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 50_000  # rewriting a part of this size takes some 0.1 s
HOST_BYTES = 200  # of a part's name; the rest is for its number and suffix


def warm_up() -> None:
    """Load the libraries that a flush needs; they take some tenths of a second."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401


class Publisher:
    """Makes the committed attempts of one host durable. Not for use by several threads."""

    def __init__(
        self,
        layout: Layout,
        host: str,
        options: Mapping[str, str] | None = None,
        *,
        pack: PackOptions | None = None,
        names: str | None = None,
    ) -> None:
        """Take over the host's output; staging left by an earlier incarnation is removed.

        ``options``: those that decided on the frames, for the manifest's metadata. With ``pack``, the images
        of a part go into shards when it is full, and the rest with ``close``.
        """
        self._metadata = {OPTIONS_KEY: msgspec.json.encode(options)} if options else {}
        self.libraries: Libraries | None = None
        self._layout = layout
        self._host = host
        self._prefix = safe_component(host, limit_bytes=HOST_BYTES)
        self._queued: dict[Key, Publication] = {}
        self._part_of: dict[Key, int] = {}
        self._doomed: set[Key] = set()
        self._open: pa.Table | None = None
        layout.remove_staging()
        self._number = next_number(layout.manifest, self._prefix, "parquet")
        self._pack = pack
        self._frame_names = FrameNames(names or DEFAULT_TEMPLATE)
        if pack is not None:
            # runs that share an output, as in S3, count from 0 each
            prefix = f"{layout.run}-{self._prefix}" if layout.run else self._prefix
            self._names = ShardNames(layout.output / "shards", prefix, pack.format)
            self._bundle_names = ShardNames(layout.output / "shards", prefix, BUNDLE)
            self._sealer = ShardPacker(layout.output, layout.staging, pack, self._names)
        self._refused: set[int] = set()  # full parts whose images could not be packed

    def made_with(self, libraries: Libraries) -> None:
        """What makes the frames of this host, as each of its slots tells, for the manifest's metadata.

        Raises:
            UserError: it is not what has made those before.
        """
        if self.libraries is not None and libraries != self.libraries:
            raise UserError(
                f"libraries of host {self._host!r} were replaced while it worked, start it again: "
                f"{self.libraries.unlike(libraries)} by {libraries.unlike(self.libraries)}"
            )
        self.libraries = libraries
        self._metadata[LIBRARIES_KEY] = msgspec.json.encode(libraries)

    def add(
        self,
        unit: int,
        attempt: int,
        video: str,
        folder: str,
        rows: list[FrameRow],
        first_sample: int,
        *,
        extent: Extent = WHOLE_VIDEO,
    ) -> None:
        """Queue an attempt for the next ``place``; its files lie in its staging folder.

        ``folder`` is the video's below ``frames/``; ``first_sample`` is added to each row's sample. Staged
        files that no row names are dropped. ``extent`` is what the rows prove to be done.
        """
        samples = [first_sample + row.sample for row in rows]
        files = [
            None
            if row.is_dropped
            else "frames/"
            + self._frame_names.name(
                folder,
                sample=sample,
                pts=row.pts,
                time_s=row.time_s,
                suffix=row.file.rpartition(".")[2],
            )
            for sample, row in zip(samples, rows, strict=True)
        ]
        bundle = self._bundle_names() if self._pack is not None and any(files) else None
        key = unit, attempt
        self._queued[key] = Publication(key, video, rows, samples, files, extent, bundle)

    def place(self) -> list[Key]:
        """Move the files of what is queued into place; rows for them are to follow when they are on the disk.

        Raises:
            OSError: the output cannot be written. All stays queued: try again, or ``discard`` it.
        """
        self._name_shards(wait=False)
        self._take_out_doomed()
        self._layout.output.mkdir(parents=True, exist_ok=True)
        for publication in self._queued.values():
            self._move_into_place(publication)
        return list(self._queued)

    def record(self, placed: Collection[Key]) -> list[Key]:
        """Write the rows of attempts whose files are in place and on the disk; those that are durable now.

        What was discarded in between is passed over.

        Raises:
            OSError: the output cannot be written. Nothing of it counts as published then, and it stays
                queued: ``place`` and record it again, or ``discard`` it.
        """
        publications = [self._queued[key] for key in placed if key in self._queued]
        if not publications:
            return []
        part = self._with_rows_of(publications)
        self._write_part(self._number, part)
        self._open = part
        published = [publication.key for publication in publications]
        for key in published:
            del self._queued[key]
            self._part_of[key] = self._number
        if self._is_full(part):
            self._close_part(part)
        for key in published:
            shutil.rmtree(self._staging(key), ignore_errors=True)
        return published

    def flush(self) -> list[Key]:
        """Publish everything queued, on the disk when this returns; the (unit, attempt) pairs of it.

        Raises:
            OSError: as ``place`` and ``record`` do.
        """
        placed = self.place()
        if placed:
            sync_filesystem(self._layout.output)
        return self.record(placed)

    def close(self) -> None:
        """Put into shards what is still in bundles, if images are packed. Nothing may be added after."""
        if self._pack is None:
            return
        with contextlib.suppress(OSError):
            self._take_out_doomed()
        if self._open is not None and self._open.num_rows:
            self._close_part(self._open)
        self._name_shards(wait=True)
        for number in sorted(self._refused):  # once more: the disk may have room now
            self._sealer.start(number, self._read_part(number))
        self._refused.clear()
        self._name_shards(wait=True)
        with contextlib.suppress(OSError):
            remove_nameless_bundles(self._layout.output, self._layout.manifest, self._bundle_names)

    def discard(self, unit: int, attempt: int) -> None:
        """Undo an attempt wherever it is: staged, queued, or published.

        Published rows go first, then files, unless another attempt on this host has the same file. What
        the disk refuses now stays as it is, files and rows, and the next ``place`` tries it again.
        """
        key = unit, attempt
        shutil.rmtree(self._staging(key), ignore_errors=True)
        publication = self._queued.pop(key, None)
        if key in self._part_of:
            self._doomed.add(key)
        with contextlib.suppress(OSError):
            if publication is not None and publication.moved:
                self._take_away(publication)
            self._take_out_doomed()

    # ---- files --------------------------------------------------------------------------------------

    def _staging(self, key: Key) -> Path:
        return self._layout.staging / f"{key[0]}-{key[1]}"

    def _move_into_place(self, publication: Publication) -> None:
        if self._pack is not None:
            if publication.bundle is not None and not publication.moved:
                target = self._layout.output / publication.bundle
                target.parent.mkdir(parents=True, exist_ok=True)
                (self._staging(publication.key) / STAGED_BUNDLE).replace(target)
                publication.moved = 1
            return
        if (first := next(filter(None, publication.files), None)) is not None:
            (self._layout.output / first).parent.mkdir(parents=True, exist_ok=True)
        # pathlib would take longer than the system does
        staging, output = str(self._staging(publication.key)), str(self._layout.output)
        while publication.moved < len(publication.files):
            row, file = publication.rows[publication.moved], publication.files[publication.moved]
            if file is not None:
                os.replace(f"{staging}/{row.file}", f"{output}/{file}")  # noqa: PTH105
            publication.moved += 1

    def _take_away(self, publication: Publication) -> None:
        if publication.bundle is not None:
            remove(self._layout.output, [publication.bundle])
        else:
            self._remove_files(publication.video, publication.files[: publication.moved])

    def _remove_files(self, video: str, files: Iterable[str | None]) -> None:
        """Remove ``files`` of a video, but not those of its other attempts, published or queued."""
        if self._has_company():
            return
        kept = {file for other in self._queued.values() if other.video == video for file in other.files}
        kept.update(self._files_in_manifest(video))
        for file in files:
            if file is not None and file not in kept:
                (self._layout.output / file).unlink(missing_ok=True)

    def _has_company(self) -> bool:
        """Whether other hosts publish into this output too, as in the SDK's local mode. What one of them has
        done again has the same name, so nothing is removed there: better a file without a row than the
        other way round."""
        staging, manifest = self._layout.staging, self._layout.manifest
        if (
            self._layout.host
            and staging.parent.is_dir()
            and any(p != staging for p in staging.parent.iterdir())
        ):
            return True
        return any(path.stem.rpartition("-")[0] != self._prefix for path in manifest.glob("*.parquet"))

    # ---- shards -------------------------------------------------------------------------------------

    def _is_full(self, part: pa.Table) -> bool:
        if part.num_rows >= ROWS_PER_PART:
            return True
        if self._pack is None or not part.num_rows:
            return False
        import pyarrow.compute as pc

        return bool(pc.sum(part["bytes"]).as_py() >= self._pack.shard_bytes)

    def _close_part(self, part: pa.Table) -> None:
        self._open = None
        if self._pack is not None:
            self._sealer.start(self._number, part)
        self._number += 1

    def _name_shards(self, *, wait: bool) -> None:
        """Let the shards that are complete take the place of bundles."""
        if self._pack is None:
            return
        for number, packed, error in self._sealer.take(wait=wait):
            try:
                if packed is None:
                    raise error or AssertionError("neither shards nor an error")
                name_shards(self._layout.output, packed)
                self._write_part(number, packed.table)
            except OSError as refused:  # nothing is lost: the images are where their rows say
                if packed is not None:
                    withdraw(self._layout.output, packed)
                self._refused.add(number)
                LOG.warning("part %d is not packed yet: %s", number, refused)
                continue
            with contextlib.suppress(OSError):  # no row names them any more
                remove(self._layout.output, shards_of(packed.source))

    # ---- the manifest -------------------------------------------------------------------------------

    def _part_path(self, number: int) -> Path:
        return self._layout.manifest / f"{self._prefix}-{number}.parquet"

    def _with_rows_of(self, publications: list[Publication]) -> pa.Table:
        """The open part and new rows, sorted by video and sample."""
        import pyarrow as pa

        new = table_of(publications, self._host)
        part = new if self._open is None else pa.concat_tables([self._open, new])
        return part.sort_by([("video", "ascending"), ("sample", "ascending")])

    def _read_part(self, number: int) -> pa.Table:
        if number == self._number and self._open is not None:
            return self._open
        return read_table(self._part_path(number)).cast(sortable_schema())

    def _write_part(self, number: int, part: pa.Table) -> None:
        path = self._part_path(number)
        if not part.num_rows:
            path.unlink(missing_ok=True)
            return
        write_part(path, self._as_written(part), temporary=self._layout.staging / f"{path.name}.tmp")

    def _as_written(self, part: pa.Table) -> pa.Table:
        return part.cast(schema()).replace_schema_metadata(self._metadata)

    def _take_out_doomed(self) -> None:
        """Remove the rows, then the files, of attempts that were discarded after they were published."""
        if self._doomed:
            self._name_shards(wait=True)
        for key in sorted(self._doomed):
            number = self._part_of[key]
            if self._part_path(number).exists():
                self._take_out(key, number)
            del self._part_of[key]
            self._doomed.discard(key)

    def _take_out(self, key: Key, number: int) -> None:
        import pyarrow.compute as pc

        part = self._read_part(number)
        theirs = pc.and_(pc.equal(part["unit"], key[0]), pc.equal(part["attempt"], key[1]))
        taken, rest = part.filter(theirs), part.filter(pc.invert(theirs))
        if not taken.num_rows:
            return
        shards = shards_of(taken)
        if shards and not all(map(is_bundle, shards)):
            self._take_out_of_shards(number, rest, shards)
            return
        self._write_part(number, rest)
        if number == self._number:
            self._open = rest
        if not rest.num_rows:
            self._refused.discard(number)
        if self._pack is not None:
            remove(self._layout.output, shards)
        else:
            self._remove_files(taken["video"][0].as_py(), files_in(taken))

    def _take_out_of_shards(self, number: int, rest: pa.Table, shards: set[str]) -> None:
        """Make the shards of a part again with the ``rest`` of it alone."""
        assert self._pack is not None
        if not rest.num_rows:
            self._write_part(number, rest)
        else:
            shards = repack_part(
                self._layout.output,
                self._part_path(number),
                self._as_written(rest),
                self._pack,
                name=self._names,
                temporary=self._layout.staging,
            )
        remove_unnamed(self._layout.output, shards, self._layout.manifest.glob("*.parquet"))

    def _files_in_manifest(self, video: str) -> Iterator[str]:
        """The files of a video that have rows, written by any incarnation of this host."""
        for number in range(self._number + 1):
            if self._part_path(number).exists():
                import pyarrow.compute as pc

                part = self._read_part(number)
                yield from files_in(part.filter(pc.equal(part["video"], video)))
