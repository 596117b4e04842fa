"""What a shard is: its format, how large it may be, and which fields of the manifest it repeats."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

# What a shard tells of an image: who made it, and where its unit began and ended, is the manifest's alone.
TOLD = (
    "video",
    "sample",
    "target_s",
    "pts",
    "time_base",
    "time_s",
    "keyframe",
    "pix_fmt",
    "width",
    "height",
    "rotation",
    "interlaced",
    "status",
    "sha256",
)


class ShardError(OSError):
    """A shard is not what its manifest says."""


DEFAULT_SHARD_MIB = 128  # a second or two to upload; some hundred frames of 4K, a thousand of 720p
PackFormat = Literal["tar", "parquet"]


class PackOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images go into shards of about ``shard_bytes``, instead of a file each (docs/output.md)."""

    format: PackFormat = "tar"
    shard_bytes: Annotated[int, msgspec.Meta(ge=1)] = DEFAULT_SHARD_MIB * 2**20
