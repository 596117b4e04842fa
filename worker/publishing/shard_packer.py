"""Packing aside: a host's full manifest parts get their shards in a thread, while the agent serves its slots.

The thread reads files that are published and writes files that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from framefleet.common.output.packing import Packed, ShardNames, pack
from framefleet.common.output.shard_fields import PackOptions

if TYPE_CHECKING:
    import pyarrow as pa


class Sealed(NamedTuple):
    """A part whose shards are made, or why they are not."""

    number: int
    packed: Packed | None
    error: BaseException | None


class ShardPacker:
    """Makes the shards of one part after the other; they get their names from the agent's thread."""

    def __init__(self, root: Path, temporary: Path, options: PackOptions, names: ShardNames) -> None:
        """``root``: the host's output; ``temporary``: a folder on its disk for what is not complete."""
        self._root = root
        self._temporary = temporary
        self._options = options
        self._names = names
        self._pool = ThreadPoolExecutor(1, "sealer")
        self._jobs: list[tuple[int, Future[Packed]]] = []

    def start(self, number: int, table: pa.Table) -> None:
        """Make shards of a part's images, which are not changed or removed before ``take`` has given them."""
        future = self._pool.submit(
            pack, self._root, table, self._options, name=self._names, temporary=self._temporary
        )
        self._jobs.append((number, future))

    def take(self, *, wait: bool) -> Iterator[Sealed]:
        """Parts whose shards are made, in order; with ``wait`` all that were started."""
        while self._jobs and (wait or self._jobs[0][1].done()):
            number, future = self._jobs[0]
            error = future.exception()
            del self._jobs[0]
            yield Sealed(number, None if error else future.result(), error)
