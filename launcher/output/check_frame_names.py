"""Names that a template gives to frames, held against the videos before any host begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from framefleet.common.job.image_options import ImageOptions
from framefleet.common.job.selection import RANGES_FILE, TIMESTAMPS_FILE, Selection
from framefleet.common.output.frame_names import FrameNames

if TYPE_CHECKING:
    from framefleet.coordinator.listed_video import ListedVideo
    from framefleet.launcher.job import JobRequest


def check_names(image: ImageOptions, videos: Iterable[ListedVideo]) -> None:
    """See that ``--name-template``, if it is given, gives the frames of ``videos`` names that will do.

    Raises:
        UserError: one would be the folder of another video, or longer than disks allow.
    """
    if image.name_template is not None:
        FrameNames(image.name_template).check_folders([video.folder for video in videos], image.suffix)


def check_names_of(request: JobRequest) -> None:
    """The same for the videos that a job wants of a folder here, which is listed only for this.

    Raises:
        UserError: as above, or the folder cannot be listed.
    """
    if request.image.name_template is None:
        return
    from framefleet.coordinator.catalogue import list_videos, select

    files = request.sampling.files
    selection = Selection(
        request.sampling.options,
        timestamps=files.get(TIMESTAMPS_FILE, b""),
        ranges=files.get(RANGES_FILE, b""),
    )
    check_names(request.image, select(list_videos(request.input), selection).videos)
