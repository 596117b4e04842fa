"""``PYTHON benchmarks/dispatch_peers.py NAME TASKS``: no-op tasks through another system, on two workers.

It is run by the Python of an environment that has that system, so only the standard library and the system
itself are imported. It prints JSON: ``tasks``, ``seconds`` from the first submission to the last result,
``version``. A few tasks before that show that all workers are there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

WORKERS = 2
WARM_UP = 200
PACKAGES = {"dask": "distributed", "ray": "ray", "parsl": "parsl", "ipyparallel": "ipyparallel"}

# Takes a number of tasks and returns when the last of them is done.
Runner = Callable[[int], None]


def noop(_: int) -> None:
    """The task."""


@contextlib.contextmanager
def dask() -> Iterator[Runner]:
    """A client with a scheduler and two worker processes of one thread each."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(WORKERS)

        def run(tasks: int) -> None:
            client.gather(client.map(noop, range(tasks), pure=False))

        yield run


@contextlib.contextmanager
def ray() -> Iterator[Runner]:
    """Tasks of one CPU each, on a node that has two."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray as system

    system.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    task: Any = system.remote(noop)

    def run(tasks: int) -> None:
        system.get([task.remote(number) for number in range(tasks)])

    yield run
    system.shutdown()


@contextlib.contextmanager
def parsl() -> Iterator[Runner]:
    """The HighThroughputExecutor with one block of two workers on this machine."""
    import parsl as system
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    with tempfile.TemporaryDirectory() as folder:
        executor = HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            cores_per_worker=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
            encrypted=False,
        )
        with system.load(Config(executors=[executor], run_dir=folder, usage_tracking=0)):
            task: Any = system.python_app(noop)

            def run(tasks: int) -> None:
                for future in [task(number) for number in range(tasks)]:
                    future.result()

            yield run


@contextlib.contextmanager
def ipyparallel() -> Iterator[Runner]:
    """A load-balanced view of two engines, one task a message."""
    import ipyparallel as system

    with system.Cluster(n=WORKERS, log_level=logging.ERROR) as client:
        client.wait_for_engines(WORKERS)
        view = client.load_balanced_view()

        def run(tasks: int) -> None:
            view.map_async(noop, range(tasks), chunksize=1).get()

        yield run


SYSTEMS = {"dask": dask, "ray": ray, "parsl": parsl, "ipyparallel": ipyparallel}


def main() -> None:
    """Run the tasks of the arguments."""
    name, tasks = sys.argv[1], int(sys.argv[2])
    with SYSTEMS[name]() as run:
        run(WARM_UP)
        begun = time.perf_counter()
        run(tasks)
        seconds = time.perf_counter() - begun
    print(json.dumps({"tasks": tasks, "seconds": seconds, "version": version(PACKAGES[name])}), flush=True)


if __name__ == "__main__":
    main()
