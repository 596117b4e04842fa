"""Who is in the cluster: good, odd and malformed resource configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.host.cluster import SINGLE_HOST, Cluster, read_cluster


def config(folder: Path, content: object) -> Path:
    path = folder / "resourceconfig.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_without_a_file_this_host_is_alone(tmp_path: Path) -> None:
    cluster = read_cluster(tmp_path / "resourceconfig.json")
    assert (cluster.current, cluster.hosts) == (SINGLE_HOST, (SINGLE_HOST,))
    assert (cluster.rank, cluster.size, cluster.is_primary) == (0, 1, True)


def test_the_file_that_sagemaker_writes(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        {
            "current_host": "algo-2",
            "current_instance_type": "ml.c5.xlarge",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-2", "algo-1"],
            "instance_groups": [{"instance_group_name": "homogeneousCluster", "hosts": ["algo-1", "algo-2"]}],
            "network_interface_name": "eth0",
        },
    )
    cluster = read_cluster(path)
    assert cluster == Cluster("algo-2", ("algo-1", "algo-2"))
    assert (cluster.rank, cluster.size, cluster.primary, cluster.is_primary) == (1, 2, "algo-1", False)


def test_ranks_follow_the_sorted_names_beyond_nine_hosts(tmp_path: Path) -> None:
    hosts = [f"algo-{number}" for number in range(1, 13)]
    for told in (hosts, hosts[::-1], hosts[5:] + hosts[:5]):
        views = {host: read_cluster(config(tmp_path, {"current_host": host, "hosts": told})) for host in told}
        ranks = {host: view.rank for host, view in views.items()}
        assert sorted(ranks.values()) == list(range(12))
        assert (ranks["algo-1"], ranks["algo-10"], ranks["algo-12"], ranks["algo-2"]) == (0, 1, 3, 4)
        assert [host for host, view in views.items() if view.is_primary] == ["algo-1"]
        assert {view.primary for view in views.values()} == {"algo-1"}


def test_hosts_need_no_numbers_in_their_names(tmp_path: Path) -> None:
    hosts = ["zebra.local", "Émile", "10.0.0.7"]
    cluster = read_cluster(config(tmp_path, {"current_host": "Émile", "hosts": hosts}))
    assert (cluster.primary, cluster.rank) == ("10.0.0.7", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ('{"hosts": ["a"', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        (["algo-1"], "must hold a JSON object, not list"),
        ({}, "'hosts' must be a list of host names, not None"),
        ({"current_host": "a", "hosts": "a"}, "'hosts' must be a list of host names, not 'a'"),
        ({"current_host": "a", "hosts": ["a", 2]}, "'hosts' must be a list of host names"),
        ({"current_host": "a", "hosts": ["a", ""]}, "'hosts' must be a list of host names"),
        ({"current_host": "a", "hosts": []}, "'hosts' is empty"),
        ({"current_host": "a", "hosts": ["b", "a", "b"]}, "'hosts' lists b more than once"),
        ({"hosts": ["a"]}, "'current_host' is None"),
        ({"current_host": "c", "hosts": ["a", "b"]}, "'current_host' is 'c', which is not in 'hosts'"),
        ({"current_host": ["a"], "hosts": ["a"]}, r"'current_host' is \['a'\]"),
    ],
)
def test_what_is_malformed_is_told_with_the_file_and_the_value(
    tmp_path: Path, content: object, message: str
) -> None:
    path = config(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        read_cluster(path)
    assert str(path) in str(caught.value)


def test_bytes_that_are_no_text_are_not_json(tmp_path: Path) -> None:
    path = tmp_path / "resourceconfig.json"
    path.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(UserError, match="is not JSON"):
        read_cluster(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory"):
        read_cluster(tmp_path)
