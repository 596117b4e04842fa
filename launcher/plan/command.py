"""``launch.py plan``: makespan and cost of a job on 1 to 32 instances, before it is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from framefleet.launcher.aws.s3 import is_in_s3
from framefleet.launcher.options.image import FORMATS
from framefleet.launcher.options.sampling import NAMES, sampling_options

if TYPE_CHECKING:
    from framefleet.common.job.image_options import ImageFormat, ImageOptions
    from framefleet.launcher.plan.estimate import Estimate
    from framefleet.launcher.plan.inspect_videos import Look
    from framefleet.launcher.plan.prices import Prices

INSTANCES: Final = (1, 2, 4, 8, 16, 32)
TYPES: Final = ("ml.c5.xlarge", "ml.c5.2xlarge", "ml.c5.4xlarge")
LOOKS: Final = 24
GB: Final = 1e9
HEADINGS: Final = (
    "", "start", "download", "extract", "upload", "total", "between", "cost", "between", "sharded", "cost"
)  # fmt: skip
KNEE: Final = "<: the knee; up to it, each doubling saves at least 30 % of the time"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--input", "source", required=True, metavar="DIR", help="Folder of videos, here or in S3.")
@click.option(
    "--instances",
    type=click.IntRange(1, 100),
    multiple=True,
    default=INSTANCES,
    show_default=True,
    metavar="N",
    help="How many; repeatable.",
)
@click.option(
    "--instance-type",
    "types",
    multiple=True,
    default=TYPES,
    show_default=True,
    metavar="TYPE",
    help="Repeatable.",
)
@click.option(
    "--prices",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Prices and sizes of instances, in TOML.  [default: ours, whose age and source are shown]",
)
@click.option(
    "--looks",
    type=click.IntRange(1, 1000),
    default=LOOKS,
    show_default=True,
    metavar="N",
    help="How many videos are looked at; the others are taken to be like them, by their bytes.",
)
@click.option(
    "--format",
    "image_format",
    type=click.Choice(FORMATS),
    default="jpg",
    show_default=True,
)
@click.option("--region", metavar="NAME", help="AWS region, for videos in S3.")
@click.option("--profile", metavar="NAME", help="Profile of the AWS configuration.")
@sampling_options
def plan(
    source: str,
    instances: tuple[int, ...],
    types: tuple[str, ...],
    prices: Path | None,
    looks: int,
    image_format: ImageFormat,
    **options: Any,
) -> int:
    """Say how long a job would take on SageMaker and what it would cost, beside a sharded one.

    Some videos are looked at (headers, indexes and first frames, by ranged reads in S3), and the scheduler's
    own core is run on what they promise.
    """
    from framefleet.common.errors import UserError
    from framefleet.common.job.image_options import ImageOptions
    from framefleet.launcher.console.display import SlowStep, make_console
    from framefleet.launcher.options.sampling import make_sampling
    from framefleet.launcher.plan.prices import OURS, read_prices

    console = make_console()
    counts = sorted(set(instances))
    try:
        known = read_prices(prices or OURS)
        for name in types:
            if name not in known.instances:
                raise UserError(
                    f"--instance-type {name} is not in {prices or OURS}: add it there, or choose one of "
                    f"{', '.join(known.instances)}"
                )
        request = make_sampling({name: options[name] for name in NAMES})
        sampling = _sampling_of(request)
        with SlowStep(console, "looking at videos") as step:
            sizes, found = _look(source, looks, ImageOptions(format=image_format), options, step.update)
        if not sizes:
            raise UserError(f"--input {source} holds no files")
    except UserError as error:
        raise click.UsageError(str(error)) from error
    from framefleet.launcher.plan.estimate import estimate_all

    videos = estimate_all(sizes, found, sampling, most_frames=options["max_frames_per_video"])
    for line in _summary(source, videos, found):
        console.print(line, soft_wrap=True)
    rows = len(types) * len(counts)
    tables = []
    with SlowStep(console, "simulating") as step:
        step.update(0, rows)
        for number, name in enumerate(types):
            done = number * len(counts)
            tables.append(
                _table(name, counts, videos, known, lambda at, done=done: step.update(done + at, rows))
            )
    for table in tables:
        console.print(table)
        console.print()
    console.print(
        f"Prices: {known.currency}, collected {known.collected} ({known.source}); they may have changed: see "
        "your region's price page, and give yours with --prices.",
        soft_wrap=True,
    )
    console.print(
        "Measured: what decoding and encoding the first frames takes a core of this machine. Assumed: that "
        "theirs are as fast, 100 MB/s onto each instance's disk and 50 MB/s back, 5 minutes until instances "
        "are there (not billed). Upload: what is left of it after the extraction. The range: extraction 0.6 "
        "to 1.8 times as long, transfers 0.5 to 2 times, and 4 to 8 minutes until instances are there.",
        soft_wrap=True,
    )
    return 0


def _sampling_of(request: Any) -> Any:
    """How frames are chosen, as one rule for all videos.

    Raises:
        UserError: it differs by video.
    """
    from framefleet.common.errors import UserError
    from framefleet.common.job.selection import Selection

    if request.files:
        raise UserError("plan knows rates, not lists: leave out --timestamps and --ranges")
    return Selection(request.options).of("any")


def _look(
    source: str, count: int, image: ImageOptions, options: dict[str, Any], on_progress: Any
) -> tuple[list[int], dict[int, Look | None]]:
    """The sizes of all videos, and what some of them are."""
    from framefleet.launcher.plan.inspect_videos import RangedFile, choose, look

    found: dict[int, Look | None] = {}
    if is_in_s3(source):
        from framefleet.launcher.aws.clients import open_aws, translated
        from framefleet.launcher.aws.s3 import parse_folder
        from framefleet.launcher.aws.settings import load_settings
        from framefleet.launcher.sagemaker.input_listing import read_input

        folder = parse_folder(source, "--input")
        aws = open_aws(load_settings({name: options[name] for name in ("region", "profile")}))
        with translated(f"reading {folder}", bucket=folder.bucket):
            videos = read_input(aws.s3, folder)[0].videos
            sizes = [video.size_bytes for video in videos]
            chosen = choose(sizes, count)
            on_progress(0, len(chosen))
            for done, place in enumerate(chosen):
                file = RangedFile(aws.s3, folder.bucket, folder.key(videos[place].name), sizes[place])
                found[place] = look(file, sizes[place], image)
                on_progress(done + 1, len(chosen))
        return sizes, found
    from framefleet.coordinator.catalogue import list_videos

    root = Path(source).expanduser().resolve()
    videos = list_videos(root).videos
    sizes = [video.size_bytes for video in videos]
    chosen = choose(sizes, count) if sizes else []
    on_progress(0, len(chosen))
    for done, place in enumerate(chosen):
        found[place] = look(root / videos[place].path.decode(errors="surrogateescape"), sizes[place], image)
        on_progress(done + 1, len(chosen))
    return sizes, found


def _summary(source: str, videos: Sequence[Estimate], found: dict[int, Look | None]) -> list[str]:
    from framefleet.launcher.plan.estimate import is_too_long
    from framefleet.launcher.text import clock, count_of

    readable = [each for each in found.values() if each is not None]
    hours = sum(each.duration_s for each in videos) / 3600
    frames = sum(each.frames for each in videos)
    made = sum(each.frames * each.frame_bytes for each in videos)
    core_hours = sum(each.work_s for each in videos) / 3600
    size_gb = sum(each.size_bytes for each in videos) / GB
    lengths = [each.duration_s for each in readable if is_too_long(each)]
    too_long = len(lengths)
    unreadable = len(found) - len(readable)
    lines = [f"{source}: {count_of(len(videos), 'video')}, {size_gb:.2f} GB; {len(found):,} looked at"]
    if unreadable:
        lines.append(f"{unreadable:,} of those cannot be read")
    if too_long:
        lines.append(
            f"{too_long:,} of those {'claims' if too_long == 1 else 'claim'} to be longer than their bytes "
            f"allow ({clock(max(lengths))}): taken to be as long as others of that size"
        )
    about = f"about {hours:.1f} hours of video wanted, {frames:,.0f} frames of {made / GB:.2f} GB"
    lines.append(f"{about}, {core_hours:.2f} core hours")
    longest = max((each.work_s for each in videos), default=0)
    if core_hours and longest / 3600 > 0.05 * core_hours:
        lines.append(f"the longest video is {longest / 36 / core_hours:.0f} % of the work")
    return lines


def _table(
    name: str, counts: Sequence[int], videos: Sequence[Estimate], prices: Prices, on_progress: Any
) -> Any:
    from rich import box
    from rich.table import Table

    from framefleet.launcher.plan.forecast import START_S, forecast, forecast_sharded, knee

    instance = prices.instances[name]
    made, sharded = [], []
    for done, count in enumerate(counts):
        made.append(forecast(videos, instance, count))
        sharded.append(forecast_sharded(videos, instance, count))
        on_progress(done + 1)
    best = knee(made)
    title = f"{name}: {instance.vcpus} vCPUs, {instance.price:g} {prices.currency} an hour"
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=0, show_edge=False,
        caption=KNEE, caption_justify="left",
    )  # fmt: skip
    for heading in HEADINGS:
        table.add_column(heading, justify="right", overflow="fold")
    for ours, theirs in zip(made, sharded, strict=True):
        table.add_row(
            f"{ours.instances}{'<' if ours.instances == best else ' '}",
            brief_time(START_S),
            brief_time(ours.download_s),
            brief_time(ours.extraction_s),
            brief_time(ours.upload_s),
            brief_time(ours.total_s),
            "-".join(map(brief_time, ours.range_s())),
            brief_cost(ours.cost(instance)),
            "-".join(brief_cost(each, digits=2) for each in ours.cost_range(instance)),
            brief_time(theirs.total_s),
            brief_cost(theirs.cost(instance)),
            style="bold" if ours.instances == best else None,
        )
    return table


def brief_time(seconds: float) -> str:
    """Seconds in at most four columns, as exact as an estimate needs: ``45s``, ``5m40``, ``59m``, ``7h05``,
    ``48h``, ``12d``; beyond 27 years it takes more."""
    whole = max(0, round(seconds))
    minutes, hours = round(whole / 60), round(whole / 3600)
    if whole < 60:
        return f"{whole}s"
    if whole < 600:
        return f"{whole // 60}m{whole % 60:02}"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 600:
        return f"{minutes // 60}h{minutes % 60:02}"
    return f"{hours}h" if hours < 100 else f"{round(whole / 86_400)}d"


def brief_cost(amount: float, digits: int = 4) -> str:
    """An amount with about so many digits, in at most five columns; with two digits, in four."""
    if amount >= 999_500:
        return f"{amount / 1e6:.{1 if amount < 9.95e6 else 0}f}M"
    if amount >= (99_999.5 if digits > 2 else 9_999.5):
        return f"{amount / 1000:.0f}k"
    decimals = 2 if amount < 1 else max(0, min(2, digits - len(f"{amount:.0f}")))
    return f"{amount:.{decimals}f}"
