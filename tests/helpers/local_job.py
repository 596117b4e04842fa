"""One job as ``launch.py`` would run it, with a scheduling of the test's own choice.

``python -m tests.helpers.local_job OPTIONS``, where OPTIONS: ``jobs.JobOptions`` as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from framefleet.common.errors import UserError
from framefleet.common.job.spec import ImageOptions
from framefleet.launcher.job import JobRequest
from framefleet.launcher.targets.local import LocalCluster
from framefleet.launcher.targets.local_host import WORKER_COMMAND, LocalHost
from tests.faults import lying_hosts as lying
from tests.faults import refusing_disk as refusing
from tests.faults.held_slots import COMMAND, VARIABLE
from tests.helpers.jobs import JobOptions


class _OtherHost(LocalHost):
    def start(self, command: Sequence[str], *, keep_open: Sequence[int] = ()) -> None:
        super().start([sys.executable, "-m", "tests.faults.other_libraries"], keep_open=keep_open)


def unlike_hosts(copies: dict[str, str], others: Sequence[str]) -> type[LocalCluster]:
    """A cluster in which some hosts have folders of their own as input, and ``others`` other libraries."""

    class Unlike(LocalCluster):
        def _make_host(self, name: str, root: Path) -> LocalHost:
            return (_OtherHost if name in others else LocalHost)(name=name, root=root)

        def prepare(self, resources: contextlib.ExitStack) -> None:
            super().prepare(resources)
            for host in self.hosts:
                if host.name in copies:
                    host.videos = Path(copies[host.name])

    return Unlike


def make_request(options: JobOptions) -> JobRequest:
    """What the command line would ask of ``run_local``."""
    from framefleet.launcher.options.sampling import NAMES, make_sampling

    return JobRequest(
        input=Path(options.input),
        output=Path(options.output),
        instances=options.instances,
        slots_per_instance=options.slots,
        sampling=make_sampling(dict.fromkeys(NAMES) | (options.sampling or {"fps": options.fps})),
        mode=options.mode,
        image=ImageOptions(**{"format": options.format, **options.image}),
        on_error=options.on_error,
        scheduling=options.scheduling,
        resume=options.resume,
        check_contents=options.check,
        pack=options.pack,
    )


def main() -> int:
    from framefleet.launcher.console.display import make_console
    from framefleet.launcher.console.progress import open_view
    from framefleet.launcher.console.summary import print_result
    from framefleet.launcher.job import ContainerOptions
    from framefleet.launcher.output.output_folder import prepare_output
    from framefleet.launcher.output.output_lock import lock_output
    from framefleet.launcher.targets.local import run_local

    options = msgspec.json.decode(sys.argv[1], type=JobOptions)
    console = make_console()
    request = make_request(options)
    cluster_type: Callable[..., LocalCluster] = unlike_hosts(options.copies, options.others)
    if options.containers is not None:
        from tests.faults.faulty_containers import faulty_cluster, remove_disks

        request = replace(request, containers=ContainerOptions(cpus=options.containers.cpus))
        gate = None if options.gate is None else Path(options.gate)
        cluster_type = faulty_cluster(options.containers, gate)
    command: Sequence[str] = WORKER_COMMAND
    if options.gate is not None:
        os.environ[VARIABLE] = options.gate
        command = COMMAND
    if options.lies:
        os.environ[lying.VARIABLE] = json.dumps(options.lies)
        os.environ[lying.PLACE] = str(request.output.parent)
        command = lying.COMMAND
    elif options.refusing:
        os.environ[refusing.VARIABLE] = json.dumps(options.refusing)
        command = refusing.COMMAND
    try:
        with lock_output(request.output) as lock:
            prepare_output(
                request, is_demo=False, is_local=options.containers is None and not options.elsewhere
            )
            result = run_local(
                request, view=open_view(console), lock=lock, command=command, cluster_type=cluster_type
            )
    except UserError as error:
        print(error)
        return 1
    finally:
        if options.containers is not None:
            remove_disks(request.output)
    print_result(console, request, result)
    return result.exit_code(request.on_error)


if __name__ == "__main__":
    sys.exit(main())
