"""The options of the command line that say in what images lie, and what they make of a job.

Only click is imported with this module: ``--help`` must be quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from framefleet.common.job.image_options import ImageOptions
    from framefleet.common.output.shard_fields import PackOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = [
    click.option(
        "--pack",
        "pack_format",
        type=click.Choice(["tar", "parquet"]),
        help="Put images into shards instead of a file each: WebDataset tars, or Parquet files as Hugging "
        "Face's datasets reads them.  [default: not]",
    ),
    click.option(
        "--shard-mib",
        type=click.IntRange(1),
        metavar="MIB",
        show_default="128",
        help="With --pack: about how large a shard is.",
    ),
]


def pack_options(command: Command) -> Command:
    """Give a command the options on packing."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_pack(options: Mapping[str, Any], image: ImageOptions) -> PackOptions | None:
    """Check the options on packing; None where each image is to be a file of its own.

    Raises:
        UserError: a size is given, and nothing that has it; or names, and nothing that bears them.
    """
    from framefleet.common.errors import UserError
    from framefleet.common.output.shard_fields import DEFAULT_SHARD_MIB, PackOptions

    form, mib = options["pack_format"], options["shard_mib"]
    if form is None:
        if mib is not None:
            raise UserError("--shard-mib is the size of shards: use --pack tar or --pack parquet with it")
        return None
    if image.name_template is not None:
        raise UserError(
            f"--name-template names files, and --pack {form} makes none of images: leave one of them out"
        )
    return PackOptions(format=form, shard_bytes=(mib or DEFAULT_SHARD_MIB) * 2**20)
