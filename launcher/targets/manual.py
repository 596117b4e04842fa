"""What hosts need that no launcher starts: the job before them, and one output after them.

``framefleet manual job --fps 5`` writes the specification, and ``framefleet manual merge`` puts the hosts'
outputs together, both in a folder that all can reach: ``/output`` under ``docker-compose.yml``,
one of a shared file system on a cluster (docs/clusters.md). There, ``hosts/job`` is every host's job, and
``hosts/algo-1`` or ``hosts/host-0`` the output of the first one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from framefleet.common.errors import UserError
from framefleet.common.host.cluster import read_cluster
from framefleet.common.host.detect_cluster import MAX_HOSTS, host_name
from framefleet.common.host.layout import Layout
from framefleet.common.host.shared_filesystem import HOSTS, JOB, LOCK_FILE
from framefleet.common.job.completed import DONE_FILE, NOTHING_DONE, Done, decode_done, encode_done
from framefleet.common.job.spec import ImageOptions, JobSpec, SchedulingOptions, read_spec, write_spec
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.protocol.transport import make_keys
from framefleet.coordinator.server import exit_message
from framefleet.launcher.job import LOCAL_SCHEDULING, JobRequest, JobResult
from framefleet.launcher.options.image import image_options, make_image_options
from framefleet.launcher.options.pack import make_pack, pack_options
from framefleet.launcher.options.sampling import SamplingRequest, make_sampling, sampling_options
from framefleet.launcher.output.clean_end import begin_changes, end_changes
from framefleet.launcher.output.job_fingerprint import frame_options
from framefleet.launcher.output.merge import HostOutput, merge
from framefleet.launcher.output.output_lock import OutputInUseError, lock_output
from framefleet.launcher.output.resume import check_options, take_over
from framefleet.launcher.read_account import read_summary
from framefleet.launcher.report.make_report import try_report

MOUNT = Path("/output")
SPEC = "job.json"
MERGE = "docker compose run --rm merge` or `framefleet manual merge"
OWNER_VARIABLE = "OWNER"  # uid:gid whom everything is to belong to; nobody in particular, if it is not set


def write_job(
    output: Path,
    options: Mapping[str, Any],
    *,
    names: Sequence[str],
    owner: str = "",
    scheduling: SchedulingOptions = LOCAL_SCHEDULING,
    resume: Path | None = None,
) -> None:
    """Write the specification of a job with ``options``, as the command line names them, and make the outputs
    of the hosts that ``names`` lists; all this is to belong to ``owner``, as ``uid:gid``. ``resume``: the
    folder of videos of a job that was stopped and merged, with whose output this one goes on.

    Raises:
        UserError: an option will not do, or ``output`` holds an earlier job's frames, or another is at work
            there.
    """
    sampling, image = make_sampling(options), make_image_options(options)
    pack = make_pack(options, image)
    with lock_output(output, f"compose-{secrets.token_hex(6)}") as lock:
        _check_clear(output, may_hold_frames=resume is not None)
        files = dict(sampling.files)
        if resume is not None:
            done = _take_over(output, resume, sampling, image, pack)
            if done.videos:
                files[DONE_FILE] = encode_done(done)
        spec = JobSpec(
            job_id=lock.job,
            sampling=sampling.options,
            image=image,
            scheduling=scheduling,
            pack=pack,
            frame_options=frame_options(sampling.options, sampling.files, image, pack),
            keys=make_keys(),
        )
        try:
            _write_files(output, spec, files, names, owner)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write the job to OUTPUT for {owner or 'root'}: {error}") from error


def _take_over(
    output: Path, videos: Path, sampling: SamplingRequest, image: ImageOptions, pack: PackOptions | None
) -> Done:
    """What an earlier run has done, after what proves nothing was removed."""
    if not videos.is_dir():
        raise UserError(f"--resume {videos} is no folder of videos")
    request = JobRequest(
        input=videos, output=output, instances=1, slots_per_instance=None, sampling=sampling,
        mode="coordinated", image=image, on_error="report", pack=pack, resume=True,
    )  # fmt: skip
    check_options(request, ())
    crashed = begin_changes(output)
    done = take_over(
        request, roots=(), check=crashed, note=lambda text: print(f"Note: {text}", file=sys.stderr)
    )
    end_changes(output)
    return done


def _check_clear(output: Path, *, may_hold_frames: bool) -> None:
    hosts = output / HOSTS
    earlier = () if may_hold_frames else ("frames", "shards")
    for folder, remedy in (
        *((output / name, "give another OUTPUT, or go on with it (--resume)") for name in earlier),
        *((folder, f"merge it (`{MERGE}`), or remove it") for folder in _folders(hosts)),
    ):
        if folder.is_dir() and next(folder.iterdir(), None) is not None:
            raise UserError(
                f"{folder.relative_to(output)} in OUTPUT holds what an earlier job made: {remedy}"
            )


def _write_files(
    output: Path, spec: JobSpec, files: Mapping[str, bytes], names: Sequence[str], owner: str
) -> None:
    hosts = output / HOSTS
    write_spec(hosts / JOB / SPEC, spec)
    for name, data in files.items():
        (hosts / JOB / name).write_bytes(data)
    for name in names:  # the engine would make them root's
        (hosts / name).mkdir(exist_ok=True)
    if owner:
        user, _, group = owner.partition(":")
        for path in (output, output / LOCK_FILE, hosts, *hosts.rglob("*")):
            os.chown(path, int(user), int(group or -1), follow_symlinks=False)


def merge_hosts(output: Path) -> tuple[str, int]:
    """Put the outputs of the hosts together, make the job's report, and remove what is left of the hosts.

    Returns:
        Sentences on how the job ended, and the exit code that the launcher would have.

    Raises:
        UserError: there is nothing to merge, or it cannot be merged, or a job is at work there.
    """
    path = output / HOSTS / JOB / SPEC
    if not path.is_file():
        raise UserError("OUTPUT holds no outputs of hosts: hosts must have run before")
    with lock_output(output, read_spec(path).job_id) as lock:
        if lock.caveat:
            print(f"Note: {lock.caveat}", file=sys.stderr)
        return _merge_hosts(output, read_spec(path))


def _merge_hosts(output: Path, spec: JobSpec) -> tuple[str, int]:
    hosts = output / HOSTS
    outputs = [HostOutput(folder.name, folder) for folder in _folders(hosts)]
    if not outputs:
        raise UserError(f"no host has begun: there is nothing in {hosts} but the job")
    crashed = begin_changes(output)
    done_file = hosts / JOB / DONE_FILE
    done = decode_done(done_file.read_bytes()) if done_file.is_file() else NOTHING_DONE
    merged = merge(
        outputs, output, mode=spec.mode, primary=outputs[0].host, sampling=spec.sampling, pack=spec.pack
    )
    summary = read_summary(output / "job" / "summary.json")
    shutil.rmtree(hosts, ignore_errors=True)
    result = JobResult(
        summary=summary,
        failures=[],
        interrupted=False,
        trouble=[],
        lost=bool(merged.rowless or merged.missing),
        log_tail=[],
        frames_merged=merged.frames + sum(video.frames for video in done.videos),
    )
    if summary is None:
        text = f"the job did not end: {merged.frames} frames are there; --resume goes on with it"
    else:
        text = exit_message(summary)
    for damaged in merged.damaged:
        text += f"\n{damaged}: --resume makes the frames that it lists again"
    no_report = try_report(output)
    if no_report:
        text += f"\nThere is no report: {no_report}"
    end_changes(output, keep_mark=crashed)  # only --resume looks at what another job may have left
    return text, result.exit_code(spec.on_error)


def _folders(hosts: Path) -> list[Path]:
    """The hosts' outputs, the primary's first: names are sorted as hosts sort them."""
    return sorted(folder for folder in hosts.glob("*/") if folder.name != JOB and not folder.is_symlink())


@click.group()
def manual() -> None:
    """The steps before and after hosts that no launcher starts (docs/clusters.md)."""


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    """A mistake of the user's is one line."""
    try:
        yield
    except UserError as error:
        mistake = click.UsageError if isinstance(error, OutputInUseError) else click.ClickException
        raise mistake(str(error)) from error


output_option = click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=MOUNT,
    show_default=True,
    help="Folder that hosts share, for their outputs and the job.",
)


@manual.command()
@output_option
@click.option(
    "--hosts",
    type=click.IntRange(1, MAX_HOSTS),
    help="How many there will be, on a cluster that tells them their ranks.  [default: resourceconfig.json]",
)
@sampling_options
@image_options
@pack_options
@click.option(
    "--resume",
    metavar="VIDEOS",
    type=click.Path(path_type=Path),
    help="Go on with a job that was stopped and merged; the folder of its videos.",
)
def job(output: Path, hosts: int | None, resume: Path | None, **options: Any) -> int:
    """Write the specification of the job."""
    with _mistakes():
        if hosts is None:
            names: Sequence[str] = read_cluster(Layout.from_environment().resource_config).hosts
            scheduling = LOCAL_SCHEDULING
        else:
            names, scheduling = [host_name(rank) for rank in range(hosts)], SchedulingOptions()
        owner = os.environ.get(OWNER_VARIABLE, "")
        write_job(output, options, names=names, owner=owner, scheduling=scheduling, resume=resume)
    return 0


@manual.command("merge")
@output_option
def merge_command(output: Path) -> int:
    """Put the outputs of the hosts together."""
    with _mistakes():
        text, code = merge_hosts(output)
    print(text)
    return code
