"""The command line of ``run``, read once: from click's names and texts to one value with types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from framefleet.common.errors import UserError
from framefleet.launcher.aws.s3 import is_in_s3
from framefleet.launcher.aws.settings import NAMES as SETTINGS
from framefleet.launcher.aws.settings import option
from framefleet.launcher.job import JobOptions
from framefleet.launcher.options import names_of
from framefleet.launcher.options.image import make_image_options
from framefleet.launcher.options.metrics import make_metrics
from framefleet.launcher.options.pack import make_pack
from framefleet.launcher.options.sagemaker import sagemaker_options
from framefleet.launcher.options.sampling import make_sampling

Target = Literal["local", "compose", "sagemaker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine(JobOptions):
    """What the user has typed. Folders are not looked at yet.

    Attributes:
        source: ``--input``; None for the demo set.
        settings: those of SageMaker, as ``load_settings`` takes them; None for what was not given.
    """

    source: str | None
    destination: str
    target: Target
    cpus: float | None
    memory_bytes: int | None
    settings: Mapping[str, Any]
    job_name: str | None
    dry_run: bool
    detach: bool

    def job(self) -> dict[str, Any]:
        """The fields of ``JobOptions``, which every request has."""
        return {field.name: getattr(self, field.name) for field in fields(JobOptions)}


def read_command_line(options: Mapping[str, Any]) -> CommandLine:
    """Check ``options``, by the names that click gives them, as far as that goes without their folders.

    Raises:
        UserError: an option will not do, or not with the others.
    """
    target = _target(options["target"], options["source"], options["destination"])
    if target != "compose" and (options["cpus"] is not None or options["memory"] is not None):
        raise UserError("--cpus and --memory are limits of containers: use --target compose with them")
    if target != "sagemaker" and (given := [name for name in names_of(sagemaker_options) if options[name]]):
        raise UserError(f"{option(given[0])} is for --target sagemaker: leave it out, or give folders in S3")
    image = make_image_options(options)
    return CommandLine(
        source=options["source"],
        destination=options["destination"],
        target=target,
        cpus=options["cpus"],
        memory_bytes=None if options["memory"] is None else options["memory"] * 2**20,
        settings={name: options[name] for name in SETTINGS},
        job_name=options["job_name"],
        dry_run=options["dry_run"],
        detach=options["detach"],
        instances=options["instances"],
        slots_per_instance=options["slots"],
        sampling=make_sampling(options),
        mode=options["mode"],
        image=image,
        on_error=options["on_error"],
        metrics=make_metrics(
            options["metrics_port"], options["metrics_address"], mode=options["mode"], target=target
        ),
        resume=options["resume"] is not None,
        check_contents=options["resume"] == "check",
        pack=make_pack(options, image),
        log_level=options["log_level"],
    )


def _target(named: str, source: str | None, destination: str) -> Target:
    """Where the job is to run; folders in S3 are not for targets on this machine."""
    remote = [folder for folder in (source, destination) if folder and is_in_s3(folder)]
    if named == "sagemaker" or (named == "auto" and remote):
        return "sagemaker"
    target: Target = "compose" if named == "compose" else "local"
    if remote:
        raise UserError(f"--target {target} works on folders of this machine, not on {remote[0]}")
    return target
