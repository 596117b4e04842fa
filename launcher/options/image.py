"""The options of the command line that say how a frame becomes an image file.

Only click is imported with this module: ``--help`` must be quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from framefleet.common.job.image_options import ImageOptions

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS = ["jpg", "png", "webp", "avif"]
SUBSAMPLINGS = ["4:2:0", "4:4:4"]
DEPTHS = ["8", "16"]
ROTATIONS = ["auto", "none"]
DEFAULT_DEDUP = 4  # bits: what noise and compression change of a still picture
MAX_DEDUP = 63  # of 64 bits: more would leave one frame of each video

_OPTIONS = [
    click.option(
        "--format",
        "image_format",
        type=click.Choice(FORMATS),
        default="jpg",
        show_default=True,
        help="Kind of image.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        metavar="N",
        help="Quality of jpg, webp and avif, 1 to 100; 95 if not given.",
    ),
    click.option(
        "--subsampling",
        type=click.Choice(SUBSAMPLINGS),
        help="Colour resolution of jpg; 4:2:0 (half in both directions) if not given.",
    ),
    click.option(
        "--progressive", is_flag=True, help="Progressive jpg: a tenth smaller, but 5 times as slow to encode."
    ),
    click.option("--lossless", is_flag=True, help="Lossless webp."),
    click.option(
        "--png-level",
        type=click.IntRange(0, 9),
        metavar="N",
        help="zlib's level for png, 0 to 9; run lengths, which suit film, if not given.",
    ),
    click.option(
        "--depth",
        type=click.Choice(DEPTHS),
        default="8",
        show_default=True,
        help="Bits per channel; 16 is for png, and for videos of more than 8 bits; others stay at 8.",
    ),
    click.option(
        "--rotate",
        type=click.Choice(ROTATIONS),
        default="auto",
        show_default=True,
        help="Turn and mirror pictures as the video says, or leave them as they are stored. "
        "Then follow --crop, --resize, --pad and --gray, in this order.",
    ),
    click.option(
        "--crop",
        metavar="X,Y,W,H",
        help="Take a part: in pixels, as fractions of the sides if a number has a decimal point "
        "(0.1,0.1,0.5,0.5), or center:WxH.",
    ),
    click.option(
        "--resize",
        metavar="SIZE",
        help="WxH, or with the aspect ratio kept: fit:WxH (inside of it), short:N (the shorter side), "
        "long:N. No side grows without --enlarge.",
    ),
    click.option("--enlarge", is_flag=True, help="Let --resize enlarge smaller pictures too."),
    click.option(
        "--pad",
        metavar="WxH[:#RRGGBB]",
        help="Put the picture in the centre of an image of exactly this size; black if no colour is given.",
    ),
    click.option("--gray", is_flag=True, help="Gray images: the video's luma, one channel."),
    click.option(
        "--dedup",
        type=click.IntRange(0, MAX_DEDUP),
        is_flag=False,
        flag_value=DEFAULT_DEDUP,
        metavar="[BITS]",
        help="Leave out a frame whose perceptual hash differs from that of the sample before in this many of "
        f"64 bits or fewer; without a number, {DEFAULT_DEDUP}.  [default: all are kept]",
    ),
    click.option(
        "--min-sharpness",
        type=click.FloatRange(0, min_open=True),
        metavar="VARIANCE",
        help="Leave out a frame whose Laplacian has a smaller variance.  [default: all are kept]",
    ),
    click.option(
        "--name-template",
        metavar="TEXT",
        help="Names of files, as {video}/img_{n:05d}.{ext} with {k}, {n}, {pts}, {ms}, {stem}; or ffmpeg, "
        "epic-kitchens, mmaction2, youtube-vis.  [default: {video}/{k:08d}.{ext}]",
    ),
]


def image_options(command: Command) -> Command:
    """Add the options to a command; they arrive under the names that ``make_image_options`` reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_image_options(options: Mapping[str, Any]) -> ImageOptions:
    """Check the image options among ``options``, the parameters of a command.

    Raises:
        UserError: a value will not do, or two do not go together.
    """
    from framefleet.common.job.image_options import ImageOptions, check_image_options

    image = ImageOptions(
        format=options["image_format"],
        quality=options["quality"],
        subsampling=options["subsampling"],
        progressive=options["progressive"],
        png_level=options["png_level"],
        lossless=options["lossless"],
        depth=16 if options["depth"] == "16" else 8,
        rotate=options["rotate"],
        crop=options["crop"],
        resize=options["resize"],
        enlarge=options["enlarge"],
        pad=options["pad"],
        gray=options["gray"],
        name_template=options["name_template"],
        dedup=options["dedup"],
        min_sharpness=options["min_sharpness"],
    )
    check_image_options(image)
    return image
