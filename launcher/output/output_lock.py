"""One job at a time in an output folder, from its launcher's first look at it to its last change.

The lock is the system's, on a file that stays: it goes with the processes that hold it, the launcher and the
agents that it started, however they end. Machines that share a file system share the lock, where that file
system passes it on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from framefleet.common.errors import UserError
from framefleet.common.host.shared_filesystem import LOCK_FILE

_MAX_JOB_BYTES = 200
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
_MOUNTS = Path("/proc/self/mountinfo")
# of network file systems, as /proc tells: the mount options with which locks stay on the machine
_KEPT_LOCAL = {
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("nolock", "local_lock=all", "local_lock=flock"),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "lustre": ("localflock",),
}
_WITHOUT_LOCKS = (
    "fuse.sshfs",
    "fuse.s3fs",
    "fuse.mountpoint-s3",
    "fuse.goofys",
    "fuse.gcsfuse",
    "fuse.rclone",
)


class OutputInUseError(UserError):
    """Another job is at work in an output."""


@dataclass(frozen=True, slots=True)
class OutputLock:
    """A lock that is held.

    Attributes:
        job: the id of the job that holds it.
        descriptor: whoever has it open holds the lock too.
        caveat: a sentence on whom it does not keep out; empty where it holds.
    """

    job: str
    descriptor: int
    caveat: str = ""


def new_job_id() -> str:
    """An id that no other job has."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


@contextlib.contextmanager
def lock_output(output: Path, job: str | None = None) -> Iterator[OutputLock]:
    """Hold the lock of an output, which is made if it is not there. ``job`` is the id of an earlier job whose
    work is finished; None: that of a new one.

    Raises:
        OutputInUseError: another job holds it.
        UserError: the folder cannot be made or written to.
    """
    job = job or new_job_id()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output} cannot be made: {error.strerror}") from error
    try:
        descriptor, caveat = _locked(output)
    except BlockingIOError:
        raise OutputInUseError(
            f"job {_holder(output) or 'of another launcher'} is running in --output {output}: "
            "wait for it, or use another folder"
        ) from None
    except OSError as error:
        raise UserError(f"--output {output} cannot be written to: {error.strerror}") from error
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the name
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{job}\n".encode(), 0)
        yield OutputLock(job, descriptor, caveat)
    finally:
        with contextlib.suppress(OSError):  # for processes that are being killed and have it open still
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def running_job(output: Path) -> str | None:
    """The id of the job that works in ``output`` just now, if there is one. For notes: it may be over, or
    another one may begin, when this returns."""
    try:
        descriptor = os.open(output / LOCK_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return "of another user"
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(output) or "of another launcher"
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def note_of_running_job(output: Path) -> str:
    """For whoever reads an output: that a job is changing it; empty if none is."""
    job = running_job(output)
    if job is None:
        return ""
    return f"Note: job {job} is running in {output}: this is about what is there just now, and not all of it"


def _locked(output: Path) -> tuple[int, str]:
    """An open descriptor that holds the lock, and the caveat.

    Raises:
        BlockingIOError: somebody else holds it.
    """
    path = output / LOCK_FILE
    while True:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666
        )
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, f"{LOCK_FILE} there is no file")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                return descriptor, (
                    f"the file system of --output {output} gives no locks ({error.strerror}): see that no "
                    "other job works there"
                )
            with contextlib.suppress(FileNotFoundError):
                there = os.lstat(path)
                if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                    return descriptor, _caveat(output, status.st_dev)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody has removed the file in between: the lock is on nothing


def _holder(output: Path) -> str:
    with contextlib.suppress(OSError), (output / LOCK_FILE).open("rb") as file:
        return file.read(_MAX_JOB_BYTES).decode(errors="replace").strip()
    return ""


def _caveat(output: Path, device: int) -> str:
    try:
        kind = kept_local(_MOUNTS.read_text(errors="replace"), f"{os.major(device)}:{os.minor(device)}")
    except OSError:
        return ""
    if not kind:
        return ""
    return (
        f"the file system of --output {output} ({kind}) does not pass locks on: see that no launcher on "
        "another machine works there"
    )


def kept_local(mounts: str, device: str) -> str:
    """The kind of the network file system ``device`` (``major:minor``) if other machines do not see its
    locks, by the text of ``/proc/self/mountinfo``; else nothing."""
    for line in mounts.splitlines():
        mount, _, system = line.partition(" - ")
        fields, kinds = mount.split(), system.split()
        if len(fields) < 3 or fields[2] != device or len(kinds) < 3:
            continue
        kind, options = kinds[0], kinds[2].split(",")
        if kind in _WITHOUT_LOCKS or set(options).intersection(_KEPT_LOCAL.get(kind, ())):
            return kind
    return ""
