"""``python -m framefleet.worker``: what every host of a job runs."""

from __future__ import annotations

import contextlib
import sys

from framefleet.common import startup
from framefleet.common.errors import UserError
from framefleet.common.files.temporary import use_short_folder
from framefleet.common.log import set_up_logging
from framefleet.worker.slots.fork_server import start_fork_server


def main() -> int:
    """Run this host; return the exit code."""
    set_up_logging()
    # whoever needs it tries again, and tells why it cannot be done
    with contextlib.suppress(OSError, UserError):
        use_short_folder()
        start_fork_server()  # first of all: it loads the media libraries while this process loads its own
    from framefleet.worker.host import run_host

    return run_host()


if __name__ == "__main__":
    startup.set_up()
    sys.exit(main())
