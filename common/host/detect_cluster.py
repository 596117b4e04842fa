"""Who is in this cluster, where no ``resourceconfig.json`` tells: from the environment of other schedulers.

The functions of the schedulers are pure: each takes the environment and answers with a ``Cluster``, or None
if that scheduler has not started this process. Hosts are called ``host-0``, ``host-1`` and so on by rank,
whatever their machines are called; only the primary needs an address.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from framefleet.common.errors import UserError
from framefleet.common.host.cluster import Cluster, read_cluster
from framefleet.common.host.layout import Layout
from framefleet.common.protocol.resolve_host import check_address

Environment = Mapping[str, str]

MAX_HOSTS: Final = 100_000
RANK, SIZE, PRIMARY = "FRAMEFLEET_RANK", "FRAMEFLEET_SIZE", "FRAMEFLEET_PRIMARY"


def host_name(rank: int) -> str:
    """What the host of a rank is called, here and in the folder of its output."""
    return f"host-{rank}"


def detect_cluster(layout: Layout, environment: Environment) -> tuple[str, Cluster]:
    """Who tells of the cluster, and what: SageMaker's files come first; if nobody does, this host is alone.

    Raises:
        UserError: what is told will not do.
    """
    for platform, path in (
        ("SageMaker Processing", layout.resource_config),
        ("SageMaker Training", layout.training_config),
    ):
        if path.exists():
            return platform, read_cluster(path)
    return find_cluster(environment) or ("nobody", read_cluster(layout.resource_config))


def find_cluster(environment: Environment) -> tuple[str, Cluster] | None:
    """The scheduler's name and what it tells, or None if no one's marks are there.

    Raises:
        UserError: a scheduler's marks are there and will not do.
    """
    for name, read in SCHEDULERS.items():
        found = read(environment)
        if found is not None:
            return name, found
    return None


def told(environment: Environment) -> Cluster | None:
    """What the user says: ``FRAMEFLEET_RANK``, ``FRAMEFLEET_SIZE`` and ``FRAMEFLEET_PRIMARY``."""
    if RANK not in environment:
        return None
    return _cluster(environment, RANK, SIZE, environment.get(PRIMARY))


def aws_batch(environment: Environment) -> Cluster | None:
    """A multi-node parallel job of AWS Batch.

    The main node has no address of itself, and needs none (Batch user guide, "Multi-node parallel jobs",
    "Environment variables").
    """
    if "AWS_BATCH_JOB_NUM_NODES" not in environment:
        return None
    if main := _number(environment, "AWS_BATCH_JOB_MAIN_NODE_INDEX", most=MAX_HOSTS):
        raise UserError(f"AWS_BATCH_JOB_MAIN_NODE_INDEX is {main}: set mainNode to 0 in the job definition")
    primary = environment.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS")
    return _cluster(environment, "AWS_BATCH_JOB_NODE_INDEX", "AWS_BATCH_JOB_NUM_NODES", primary)


def kubernetes(environment: Environment) -> Cluster | None:
    """An Indexed Job: the index is there, the size and the primary's name must be given in the manifest.

    (Kubernetes documentation, "Indexed Job for Parallel Processing": pods are called
    ``<job>-<index>.<subdomain>`` where the pod template names a headless service as its subdomain.)
    """
    if "JOB_COMPLETION_INDEX" not in environment:
        return None
    return _cluster(environment, "JOB_COMPLETION_INDEX", SIZE, environment.get(PRIMARY))


def slurm(environment: Environment) -> Cluster | None:
    """A job step with one task for each node (srun, "OUTPUT ENVIRONMENT VARIABLES"): the first is primary.

    What is told of the step goes before what is told of the job, as a step may have some of its nodes only.
    """
    if "SLURM_PROCID" not in environment:
        return None
    in_step = "SLURM_STEP_NUM_TASKS" in environment and "SLURM_STEP_NUM_NODES" in environment
    tasks, nodes = (
        ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES") if in_step else ("SLURM_NTASKS", "SLURM_NNODES")
    )
    if environment.get(nodes) not in (None, environment.get(tasks)):
        raise UserError(
            f"{tasks} is {environment.get(tasks, 'not set')} on {environment[nodes]} nodes: run one task on "
            "each (srun --ntasks-per-node=1); a host has as many slots as its task has CPUs"
        )
    names = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST") or ""
    return _cluster(environment, "SLURM_PROCID", tasks, environment.get(PRIMARY) or first_node(names))


def torchrun(environment: Environment) -> Cluster | None:
    """``torchrun --nproc-per-node 1`` (PyTorch, "torchrun (Elastic Launch)", "Environment Variables")."""
    if "TORCHELASTIC_RUN_ID" not in environment:
        return None
    _check_alone(environment, "LOCAL_WORLD_SIZE", "torchrun --nproc-per-node 1")
    return _cluster(environment, "RANK", "WORLD_SIZE", environment.get("MASTER_ADDR"))


def open_mpi(environment: Environment) -> Cluster | None:
    """``mpirun --map-by ppr:1:node -x FRAMEFLEET_PRIMARY`` (Open MPI FAQ, "Running MPI jobs")."""
    if "OMPI_COMM_WORLD_RANK" not in environment:
        return None
    _check_alone(environment, "OMPI_COMM_WORLD_LOCAL_SIZE", "mpirun --map-by ppr:1:node")
    primary = environment.get(PRIMARY) or environment.get("MASTER_ADDR")
    return _cluster(environment, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", primary)


SCHEDULERS: Final[dict[str, Callable[[Environment], Cluster | None]]] = {
    "FRAMEFLEET_RANK": told,
    "AWS Batch": aws_batch,
    "Kubernetes": kubernetes,
    "torchrun": torchrun,  # before the two that may have started it
    "Open MPI": open_mpi,
    "Slurm": slurm,
}


def first_node(nodes: str) -> str | None:
    """The first name of a list as Slurm compresses it: ``gpu[003-7,9],x`` is ``gpu003`` and others."""
    head, bracket, rest = nodes.partition("[")
    if not bracket or "," in head:
        return nodes.partition(",")[0] or None
    first = rest.partition("]")[0].partition(",")[0].partition("-")[0]
    return f"{head}{first}{first_node(rest.partition(']')[2]) or ''}"


def _check_alone(environment: Environment, name: str, remedy: str) -> None:
    if environment.get(name, "1") != "1":
        raise UserError(
            f"{name} is {environment[name]}: run one process on each node ({remedy}); a host makes slots by "
            "itself"
        )


def _cluster(environment: Environment, rank_name: str, size_name: str, primary: str | None) -> Cluster:
    size = _number(environment, size_name, most=MAX_HOSTS)
    rank = _number(environment, rank_name, most=MAX_HOSTS)
    if not rank < size:
        raise UserError(f"{rank_name} is {rank}, and {size_name} {size}: ranks count from 0")
    if not primary and rank > 0:
        raise UserError(
            f"the address of the first host is not known: set {PRIMARY} to its name or address on every host"
        )
    hosts = tuple(sorted(host_name(each) for each in range(size)))
    try:
        address = check_address(primary or "localhost")
    except ValueError as error:
        raise UserError(f"the address of the first host is {primary!r}: {error} (see {PRIMARY})") from None
    return Cluster(host_name(rank), hosts, address)


def _number(environment: Environment, name: str, *, most: int) -> int:
    text = environment.get(name)
    if text is None:
        raise UserError(f"{name} is not set, and must be: see docs/clusters.md")
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise UserError(f"{name} is {text!r}, which is no number from 0 to {most}")
    return int(text)
