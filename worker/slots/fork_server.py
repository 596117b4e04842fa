"""The process that slots are forked from. Little is imported here, so that it is begun at once."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from framefleet.common.errors import UserError
from framefleet.common.log import LOG

TRIES_AFTER_S: Final = (0.0, 0.0, 0.1, 0.5, 2.0)  # of a start: what killed the last one may be over by then


def start_fork_server() -> None:
    """Start it, if it does not run: it loads the libraries once, and has no threads.

    A signal to the whole process group is the agent's to answer: it and all its forks block the usual ones.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(["framefleet.worker.slots.slot_main"])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_forked(
    entry: Callable[..., None], args: tuple[Any, ...], *, name: str
) -> tuple[Connection, BaseProcess]:
    """Fork a process that runs ``entry`` with its end of a pipe, and ``args``; return the other end, and it.

    The process that is forked from may be killed at any moment, as any other: it is started again.

    Raises:
        UserError: it cannot be done, which was tried several times.
    """
    context = multiprocessing.get_context("forkserver")
    failed: Exception | None = None
    for wait_s in TRIES_AFTER_S:
        time.sleep(wait_s)
        # of its own for each try: one that was forked and not heard of ends when it finds its pipe closed
        ours, theirs = context.Pipe()
        process = context.Process(target=entry, args=(theirs, *args), name=name, daemon=True)
        try:
            start_fork_server()
            process.start()
        except (EOFError, OSError) as error:
            ours.close()
            failed = error
            LOG.warning("%s was not started (%s)", name, _words(error))
        else:
            return ours, process
        finally:
            theirs.close()
    assert failed is not None
    raise UserError(
        f"slot processes cannot be started, which was tried {len(TRIES_AFTER_S)} times ({_words(failed)}): "
        "see the lines above, and whether memory and process limits allow it"
    ) from failed


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
