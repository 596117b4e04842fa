"""``python -m worker``: what every host of a job runs."""

from __future__ import annotations

import sys

from worker.forks import start_fork_server


def main() -> int:
    """Run this host; return the exit code."""
    start_fork_server()  # first of all: it loads the media libraries while this process loads its own
    from worker.host import run_host

    return run_host()


if __name__ == "__main__":
    sys.exit(main())
