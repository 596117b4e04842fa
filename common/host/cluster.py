"""Who is in this cluster: rank, size and primary, from SageMaker's ``resourceconfig.json``.

Other schedulers tell it by the environment (``common/host/detect_cluster.py``).

A host's rank is its place in the list, which is sorted as text (``algo-10`` before ``algo-2``). Names
are never parsed, and the machine's own idea of its host name is not asked: the platform's documentation
says that it may be wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from framefleet.common.errors import UserError

SINGLE_HOST = "localhost"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The hosts of a job and which of them this is; ``primary_address`` is where the network finds the
    primary, where its name does not tell."""

    current: str
    hosts: tuple[str, ...]
    primary_address: str = ""

    @property
    def size(self) -> int:
        return len(self.hosts)

    @property
    def rank(self) -> int:
        return self.hosts.index(self.current)

    @property
    def primary(self) -> str:
        return min(self.hosts)

    @property
    def address(self) -> str:
        """The name or address under which others reach the primary."""
        return self.primary_address or self.primary

    @property
    def is_primary(self) -> bool:
        return self.current == self.primary


def read_cluster(path: Path) -> Cluster:
    """Read ``resourceconfig.json``; without one this host is alone.

    Raises:
        UserError: the file cannot be read, is not a JSON object of the documented shape, lists no
            host or one host twice, or does not list the current host.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Cluster(SINGLE_HOST, (SINGLE_HOST,))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): {text[:80]!r}") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} must hold a JSON object, not {type(config).__name__}")
    hosts, current = config.get("hosts"), config.get("current_host")
    if not isinstance(hosts, list) or not all(isinstance(host, str) and host for host in hosts):
        raise UserError(f"{path}: 'hosts' must be a list of host names, not {hosts!r}")
    if not hosts:
        raise UserError(f"{path}: 'hosts' is empty; it must list at least the current host")
    repeated = sorted({host for host in hosts if hosts.count(host) > 1})
    if repeated:
        raise UserError(f"{path}: 'hosts' lists {', '.join(repeated)} more than once")
    if not isinstance(current, str) or current not in hosts:
        raise UserError(f"{path}: 'current_host' is {current!r}, which is not in 'hosts' {hosts!r}")
    return Cluster(current, tuple(sorted(hosts)))
