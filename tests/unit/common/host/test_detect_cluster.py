"""What schedulers put into the environment, as their documentation has it, and what becomes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.detect_cluster import detect_cluster, find_cluster, first_node
from framefleet.common.host.layout import Layout

# AWS Batch user guide, "Multi-node parallel jobs": node 1 of 3
BATCH = {
    "AWS_BATCH_JOB_ID": "106c8a23",
    "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0",
    "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.3.17",
    "AWS_BATCH_JOB_NODE_INDEX": "1",
    "AWS_BATCH_JOB_NUM_NODES": "3",
}
KUBERNETES = {
    "JOB_COMPLETION_INDEX": "2",
    "FRAMEFLEET_SIZE": "3",
    "FRAMEFLEET_PRIMARY": "framefleet-0.framefleet",
    "HOSTNAME": "framefleet-2",
}
SLURM = {
    "SLURM_PROCID": "1",
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "4",
    "SLURM_JOB_NODELIST": "gpu[007-009,12],login",
    "SLURMD_NODENAME": "gpu008",
}
# a step of two nodes in an allocation of four
STEP = {
    **SLURM,
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "gpu[009,12]",
}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "123",
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "node-a",
    "MASTER_PORT": "29500",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
    "FRAMEFLEET_PRIMARY": "node-a",
}
TOLD = {"FRAMEFLEET_RANK": "0", "FRAMEFLEET_SIZE": "2", "FRAMEFLEET_PRIMARY": "node-a"}


@pytest.mark.parametrize(
    ("environment", "name", "rank", "size", "address"),
    [
        (BATCH, "AWS Batch", 1, 3, "10.0.3.17"),
        (KUBERNETES, "Kubernetes", 2, 3, "framefleet-0.framefleet"),
        (SLURM, "Slurm", 1, 4, "gpu007"),
        (TORCHRUN, "torchrun", 1, 2, "node-a"),
        (STEP, "Slurm", 1, 2, "gpu009"),
        ({**SLURM, **TORCHRUN}, "torchrun", 1, 2, "node-a"),
        (OPEN_MPI, "Open MPI", 1, 2, "node-a"),
        (TOLD, "FRAMEFLEET_RANK", 0, 2, "node-a"),
        ({**BATCH, **TOLD}, "FRAMEFLEET_RANK", 0, 2, "node-a"),
    ],
)
def test_each_scheduler(environment: dict[str, str], name: str, rank: int, size: int, address: str) -> None:
    found = find_cluster(environment)
    assert found is not None
    scheduler, cluster = found
    assert (scheduler, cluster.size, cluster.address) == (name, size, address)
    assert cluster.current == f"host-{rank}"
    assert cluster.is_primary == (rank == 0)
    assert cluster.primary == "host-0"


def test_the_main_node_of_batch_has_no_address_and_needs_none() -> None:
    main = {**BATCH, "AWS_BATCH_JOB_NODE_INDEX": "0"}
    del main["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"]
    found = find_cluster(main)
    assert found is not None
    assert found[1].is_primary


def test_all_hosts_agree_on_ranks_and_primary() -> None:
    clusters = [
        find_cluster({**KUBERNETES, "JOB_COMPLETION_INDEX": str(i), "FRAMEFLEET_SIZE": "12"})
        for i in range(12)
    ]
    found = [each[1] for each in clusters if each is not None]
    assert {each.hosts for each in found} == {found[0].hosts}
    assert sorted(each.rank for each in found) == list(range(12))
    assert [each.is_primary for each in found] == [True] + [False] * 11


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"JOB_COMPLETION_INDEX": "1"}, "FRAMEFLEET_SIZE is not set"),
        ({"JOB_COMPLETION_INDEX": "1", "FRAMEFLEET_SIZE": "2"}, "set FRAMEFLEET_PRIMARY"),
        ({**TOLD, "FRAMEFLEET_PRIMARY": "node-a:5757"}, "'node-a:5757': give a name or an address alone"),
        ({**TOLD, "FRAMEFLEET_PRIMARY": "[fd77::1]:5757"}, "without a port"),
        ({**TOLD, "FRAMEFLEET_PRIMARY": "tcp://node-a"}, "without a port or a scheme"),
        ({**TOLD, "FRAMEFLEET_PRIMARY": "node a"}, "neither a host's name nor an address"),
        ({**TOLD, "FRAMEFLEET_PRIMARY": "-x"}, "neither a host's name nor an address"),
        ({"JOB_COMPLETION_INDEX": "2", "FRAMEFLEET_SIZE": "2"}, "ranks count from 0"),
        ({"FRAMEFLEET_RANK": "-1", "FRAMEFLEET_SIZE": "2"}, "'-1', which is no number"),
        ({"FRAMEFLEET_RANK": "0", "FRAMEFLEET_SIZE": "9999999"}, "'9999999', which is no number"),
        ({**BATCH, "AWS_BATCH_JOB_MAIN_NODE_INDEX": "1"}, "set mainNode to 0"),
        ({**TORCHRUN, "LOCAL_WORLD_SIZE": "8"}, "--nproc-per-node 1"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, "ppr:1:node"),
        ({**SLURM, "SLURM_NTASKS": "16"}, "--ntasks-per-node=1"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "16"}, "SLURM_STEP_NUM_TASKS is 16 on 2 nodes"),
    ],
)
def test_what_will_not_do_is_told(environment: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        find_cluster(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[003-7,9],x", "gpu003"),
        ("x,gpu[003-7]", "x"),
        ("node1", "node1"),
        ("rack[1-2]n[3,4],x", "rack1n3"),
        ("c[5,7-9].cluster", "c5.cluster"),
        ("", None),
    ],
)
def test_first_node_of_a_list(nodes: str, first: str | None) -> None:
    assert first_node(nodes) == first


def test_sagemakers_files_come_first(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert detect_cluster(layout, {})[1].size == 1
    assert detect_cluster(layout, KUBERNETES)[0] == "Kubernetes"
    config = json.dumps({"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]})
    for path, platform in (
        (layout.training_config, "SageMaker Training"),
        (layout.resource_config, "SageMaker Processing"),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(config)
        name, cluster = detect_cluster(layout, KUBERNETES)
        assert (name, cluster.current, cluster.address) == (platform, "algo-2", "algo-1")
