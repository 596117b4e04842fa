"""What lies under ``--input``: the catalogue as hosts will make it, and the disk that it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from framefleet.common.errors import UserError
from framefleet.common.job.sampling import parse_sampling
from framefleet.common.job.spec import ImageOptions, Mode, SamplingOptions
from framefleet.common.output.video_names import output_folders
from framefleet.coordinator.catalogue import Listing, name_videos
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.launcher.aws.s3 import S3Folder, list_archived

MAX_SHOWN = 3
MAX_COMPONENT_BYTES = 255  # of a file's name on Linux
GB = 10**9
# For the size of disks, before any video has been looked at. Too small a disk fails a job, too large a one
# costs cents, so: a low bit rate (much video per byte), large frames (1080p, default quality), a margin.
ASSUMED_BITS_PER_S = 4e6
ASSUMED_NATIVE_FPS = 30
ASSUMED_KEYFRAMES_PER_S = 0.5
ASSUMED_FRAME_BYTES = {"jpg": 4e5, "png": 3e6, "webp": 2.5e5, "avif": 1.5e5}
UNEVEN = 2.0  # a host may make so many times its even share of the frames
SPARE_GB = 10  # of logs, the system, and frames that are being made
LEAST_GB = 30  # AWS's SDK asks for as much if not told


def read_input(client: Any, folder: S3Folder) -> tuple[Listing, list[int]]:
    """The videos of an S3 folder, as ``catalogue.list_videos`` will find them on a host's disk.

    With it, the sizes of all objects, hidden ones too: hosts get those as well.

    Raises:
        UserError: there is nothing, or an object is archived, or cannot be a file on a host's disk.
    """
    files: list[tuple[bytes, int]] = []
    sizes: list[int] = []
    archived: list[str] = []
    for key, size, kind in list_archived(client, folder):
        if key.endswith("/") or not key:
            continue  # what consoles make for an empty folder
        sizes.append(size)
        if kind:
            archived.append(f"{key} ({kind})")
        if not any(piece.startswith(".") for piece in key.split("/")):
            files.append((key.encode(), size))
    if archived:
        shown = ", ".join(archived[:MAX_SHOWN]) + (" ..." if len(archived) > MAX_SHOWN else "")
        raise UserError(
            f"--input {folder}: {len(archived)} of {len(sizes)} objects are archived and cannot be read: "
            f"{shown}: restore them first (aws s3api restore-object), or move them elsewhere"
        )
    if not files:
        raise UserError(_emptiness(client, folder, hidden=len(sizes)))
    _check_names([path for path, _ in files], folder)
    return Listing(name_videos(files), []), sizes


def _emptiness(client: Any, folder: S3Folder, *, hidden: int) -> str:
    if hidden:
        return f"--input {folder} holds nothing but {hidden} hidden files, whose names begin with a dot"
    if folder.prefix:
        key = folder.prefix.rstrip("/")
        found = client.list_objects_v2(Bucket=folder.bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if found and found[0]["Key"] == key:
            return f"--input {folder} is a file: give the folder that holds it"
        if found:
            return (
                f"--input {folder} holds no files; did you mean {found[0]['Key']!r}? "
                "A folder's name must be given whole"
            )
    return f"--input {folder} holds no files: correct the name, or upload videos (aws s3 sync DIR {folder})"


def _check_names(paths: Sequence[bytes], folder: S3Folder) -> None:
    """See that all objects can be files on a disk: S3 has neither folders nor a limit on their names."""
    folders: set[bytes] = set()
    for path in paths:
        pieces = path.split(b"/")
        if b"" in pieces:
            raise UserError(
                f"--input {folder}: {path.decode()!r} has an empty part in its path, which no disk can hold: "
                "rename that object"
            )
        if max(map(len, pieces)) > MAX_COMPONENT_BYTES:
            raise UserError(
                f"--input {folder}: {path.decode()!r} has a part of more than {MAX_COMPONENT_BYTES} bytes, "
                "which no file can have: rename that object"
            )
        while len(pieces) > 1:
            pieces.pop()
            above = b"/".join(pieces)
            if above in folders:
                break
            folders.add(above)
    for path in paths:
        if path in folders:
            raise UserError(
                f"--input {folder}: {path.decode()!r} is an object and a folder of others at once, "
                "which no disk can hold: rename one"
            )


def check_sharded(videos: Sequence[ListedVideo]) -> None:
    """See that hosts that know their own videos only will not give frames of two videos one name.

    Raises:
        UserError: two names differ by their suffix alone.
    """
    for video in videos:
        if video.other_folder is not None and output_folders([video.path]) != [video.folder]:
            raise UserError(
                f"--mode sharded: {video.name!r} shares its name without suffix with another video; hosts "
                "of a sharded job do not know of each other's: rename one, or use --mode coordinated"
            )


def volume_gb(
    sizes: Sequence[int], *, instances: int, mode: Mode, sampling: SamplingOptions, image: ImageOptions
) -> int:
    """The disk that each instance should have, in GB: its input, its frames, and room to spare.

    Coordinated, every host gets all objects; sharded, at most ceil(n / instances) of them, and which is not
    known beforehand: the largest, then.
    """
    total = sum(sizes)
    mine = total
    if mode == "sharded":
        mine = sum(sorted(sizes, reverse=True)[: math.ceil(len(sizes) / instances)])
    frames = expected_frames(total, sampling)
    written = frames * ASSUMED_FRAME_BYTES[image.format] * min(1.0, UNEVEN / instances)
    return max(LEAST_GB, math.ceil((mine + written) / GB) + SPARE_GB)


def expected_frames(total_bytes: int, sampling: SamplingOptions) -> float:
    """How many frames videos of so many bytes give, at a low bit rate: rather too many than too few."""
    return frames_per_s(sampling) * 8 * total_bytes / ASSUMED_BITS_PER_S


def frames_per_s(sampling: SamplingOptions) -> float:
    """How many frames a second of video gives, roughly."""
    if sampling.fps is not None:
        rate = parse_sampling(sampling.fps).rate
        return float(ASSUMED_NATIVE_FPS if rate is None else min(rate, Fraction(ASSUMED_NATIVE_FPS)))
    if sampling.every is not None:
        return ASSUMED_NATIVE_FPS / sampling.every
    return ASSUMED_KEYFRAMES_PER_S
