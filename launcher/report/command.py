"""``launch.py report``: the report of a job made again, or of two side by side."""

from __future__ import annotations

from pathlib import Path

import click

from framefleet.common.errors import UserError

DEFAULT_PAGE = "comparison.html"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", type=click.Path(path_type=Path), required=False)
@click.option(
    "--job",
    default="",
    metavar="NAME",
    help="The name of a SageMaker job: of which of them in OUTPUT the report is to be.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="A B",
    help="Output folders of two jobs, to be put side by side in one page.",
)
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    metavar="AMOUNT",
    help="Of an instance for an hour, in any currency: --compare then tells what each job cost.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help=f"Where --compare writes its page.  [default: {DEFAULT_PAGE}]",
)
def report(
    output: Path | None,
    job: str,
    compare: tuple[Path, Path] | None,
    price: float | None,
    page: Path | None,
) -> int:
    """Make job/report.html and job/trace.json of the job in the folder OUTPUT again, or compare two jobs."""
    if (output is None) == (compare is None):
        raise click.UsageError("give the output folder of a job, or --compare and two of them")
    if compare is None and (price is not None or page is not None):
        raise click.UsageError("--price and --page go with --compare")
    if compare is not None and job:
        raise click.UsageError("--job does not go with --compare")
    try:
        if compare is not None:
            from framefleet.launcher.report.compare import make_comparison

            made = make_comparison(*compare, page or Path(DEFAULT_PAGE), price=price)
        else:
            from framefleet.launcher.report.make_report import make_report

            assert output is not None
            made = make_report(output, job)
    except UserError as error:
        raise click.UsageError(str(error)) from error
    click.echo(f"Report: {made}")
    return 0
