"""What the user sees while a job runs: a live view on a terminal, a plain line now and then without one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from framefleet.common.status import HostStatus, Status
from framefleet.launcher.console.display import percent
from framefleet.launcher.text import clock, count_of, natural_key, printable

PLAIN_INTERVAL_S = 5.0
MAX_HOST_LINES = 16
_FRAME_LINES = 4  # of the view without its hosts, and the line where the cursor rests
_BAR_WIDTH = 24
_SHARE_WIDTH = 12


class View(Protocol):
    """What a target tells while a job runs."""

    def update(self, status: Status) -> None:
        """The job is this far."""

    def note(self, text: str) -> None:
        """Something happened that the user should know."""

    def close(self) -> None:
        """The job is over; may be called more than once."""


def open_view(console: Console) -> View:
    """The view that suits ``console``."""
    return LiveView(console) if console.is_terminal else PlainView(console)


class PlainView:
    """One line every ``PLAIN_INTERVAL_S`` seconds, for logs and pipes."""

    def __init__(self, console: Console, *, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._next = now() + PLAIN_INTERVAL_S

    def update(self, status: Status) -> None:
        if self._now() >= self._next:
            self._next = self._now() + PLAIN_INTERVAL_S
            self._console.print(plain_line(status), soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(printable(text), soft_wrap=True)

    def close(self) -> None:
        pass


class LiveView:
    """A picture of the job that is redrawn in place at each status."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(Text("waiting for the hosts"), console=console, auto_refresh=False, transient=True)
        self._live.start()

    def update(self, status: Status) -> None:
        room = self._console.height - _FRAME_LINES
        self._live.update(draw(status, max_host_lines=min(MAX_HOST_LINES, room)), refresh=True)

    def note(self, text: str) -> None:
        self._console.print(printable(text), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


def plain_line(status: Status) -> str:
    """The job on one line."""
    up = [host for host in status.hosts if host.state == "up"]
    busy = sum(host.busy_share for host in up) / len(up) if up else 0.0
    pieces = (
        clock(status.elapsed_s),
        percent(status.fraction),
        count_of(status.frames, "frame"),
        _videos(status),
        f"{status.frames_per_s:,.0f} frames/s",
        _left(status),
        f"{count_of(len(up), 'host')} {percent(busy)} busy",
    )
    return "  ".join(pieces)


def draw(status: Status, *, max_host_lines: int) -> RenderableType:
    """The live picture: a bar, the counts, and a line per host or, if they are too many, one for all."""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        ProgressBar(total=1.0, completed=status.fraction, width=_BAR_WIDTH),
        _fixed(f"{percent(status.fraction):>5}  {_left(status)}  {clock(status.elapsed_s)} so far"),
    )
    counts = _fixed(f"{status.frames:,} frames  {_videos(status)}  {status.frames_per_s:,.0f} frames/s")
    if len(status.hosts) <= max_host_lines:
        return Group(head, counts, _host_lines(status.hosts))
    return Group(head, counts, *_hosts_in_short(status.hosts))


def _host_lines(hosts: list[HostStatus]) -> Table:
    table = Table.grid(padding=(0, 1))
    for host in sorted(hosts, key=lambda host: natural_key(host.host)):
        table.add_row(
            _fixed(printable(host.host)[:20]),
            _fixed(host.state, style={"up": "", "lost": "red", "left": "dim"}[host.state]),
            ProgressBar(total=1.0, completed=host.busy_share, width=_SHARE_WIDTH),
            _fixed(f"{percent(host.busy_share):>5} busy"),
            _fixed(f"{host.units:,} units  {host.frames:,} frames"),
        )
    return table


def _hosts_in_short(hosts: list[HostStatus]) -> list[Text]:
    up = [host for host in hosts if host.state == "up"]
    states = [f"{len(up):,} of {count_of(len(hosts), 'host')} up"]
    lost = [printable(host.host) for host in hosts if host.state == "lost"]
    if lost:
        states.append(f"lost: {', '.join(lost[:3])}{' ...' if len(lost) > 3 else ''}")
    lines = [_fixed("  ".join(states))]
    if up:
        mean = sum(host.busy_share for host in up) / len(up)
        lazy = min(up, key=lambda host: host.busy_share)
        lines.append(
            _fixed(
                f"{percent(mean)} busy on average, the least {printable(lazy.host)[:20]} "
                f"with {percent(lazy.busy_share)}"
            )
        )
    return lines


def _fixed(text: str, *, style: str = "") -> Text:
    """Text that is cut at the edge, never wrapped: a wrapped line would make the picture jump."""
    return Text(text, style=style, no_wrap=True, overflow="crop")


def _videos(status: Status) -> str:
    failed = f" ({status.videos_failed:,} failed)" if status.videos_failed else ""
    return f"{status.videos_done:,} of {count_of(status.videos, 'video')}{failed}"


def _left(status: Status) -> str:
    return "--:-- left" if status.left_s is None else f"{clock(status.left_s)} left"
