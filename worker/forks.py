"""The process that slots are forked from. Little is imported here, so that it is begun at once."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing import forkserver


def start_fork_server() -> None:
    """Start it, if it does not run: it loads the libraries once, and has no threads.

    A signal to the whole process group is the agent's to answer: it and all its forks block the usual ones.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["worker.slot"])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
