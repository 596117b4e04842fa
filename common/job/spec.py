"""The job specification: one JSON file that every host of a job reads at its start.

It is a file because SageMaker limits arguments and environment values to 256 characters and shows
them to anyone who may describe the job.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.job.image_options import DEFAULT_QUALITY as DEFAULT_QUALITY
from framefleet.common.job.image_options import ImageFormat as ImageFormat
from framefleet.common.job.image_options import ImageOptions as ImageOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.common.protocol.keys import JobKeys

SPEC_VERSION = 4
DEFAULT_PORT = 5757  # unprivileged, and none of those that AWS's own containers use between hosts

MAX_JOB_ID = 255
MAX_COUNT = 10**9  # of --every and --max-frames-per-video: more than any video has frames

Mode = Literal["coordinated", "sharded"]
LogLevel = Literal["debug", "info", "warning", "error"]
OnError = Literal["report", "fail"]
CutRule = Literal["keyframes", "anywhere", "never"]


class SamplingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which frames are wanted: one of ``fps``, ``every``, ``keyframes`` and ``timestamps``, and limits.

    ``fps`` is a number, a fraction such as ``30000/1001``, or ``native``; ``start`` and ``end`` are seconds
    or ``h:mm:ss.sss``. ``timestamps`` and ``ranges`` name files beside the specification.
    ``common/job/selection.py`` says what all this means, and checks the text.
    """

    fps: str | None = None
    every: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] | None = None
    keyframes: bool = False
    timestamps: str | None = None
    start: str | None = None
    end: str | None = None
    ranges: str | None = None
    max_frames_per_video: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] | None = None


class SchedulingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes and times of the scheduler; users keep the defaults, tests force small ones.

    ``cut="keyframes"`` ends units only where a keyframe is expected, so that nothing is decoded twice;
    ``"anywhere"`` at any sample, as tests of exactness want it; ``"never"`` makes a unit of each video.
    ``unit_span_s`` makes all units of so many seconds of video, whatever they cost.
    """

    unit_min_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    unit_cap_s: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    unit_span_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    cut: CutRule = "keyframes"
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    lease_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    host_wait_s: Annotated[float, msgspec.Meta(ge=0)] = 900.0
    bye_wait_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0

    @property
    def silence_s(self) -> float:
        """How long a host that was welcome waits for a coordinator that says nothing: it may be starting
        again, and read its journal."""
        return max(20.0, 2 * self.lease_s)


class LimitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a slot process may use before its agent ends it, and its unit with it.

    ``memory_mib`` bounds its resident memory; None means 2 GiB, or its share of the host's memory where that
    is less (``worker/slot_limits.py``). ``no_progress_s`` bounds the time in which it reads no packet.
    """

    memory_mib: Annotated[int, msgspec.Meta(ge=64)] | None = None
    no_progress_s: Annotated[float, msgspec.Meta(gt=0)] = 120.0


class MetricsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the coordinator tells its state (docs/metrics.md).

    ``lines="emf"`` adds what CloudWatch makes metrics of. With a ``port``, Prometheus may scrape them at
    ``address``, one of the coordinator's host.
    """

    lines: Literal["json", "emf"] = "json"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] | None = None
    address: str = "127.0.0.1"


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that a host must know of a job.

    ``endpoint`` (a ZeroMQ address) overrides ``tcp://<primary>:<port>``, for hosts that share one machine.
    ``run`` is a folder below ``manifest/`` and ``job/``, where runs share one output. ``is_dealt_out``: the
    platform gives each host of a sharded job its own videos, and no other.
    ``keys`` is None where nothing is connected; a file without keys is no job's. ``frame_options`` are those
    that decide on frames (``launcher/output/job_fingerprint.py``), for the manifest to tell.
    """

    job_id: Annotated[str, msgspec.Meta(max_length=MAX_JOB_ID)]
    version: int = SPEC_VERSION
    sampling: SamplingOptions = SamplingOptions(fps="5")
    mode: Mode = "coordinated"
    image: ImageOptions = ImageOptions()
    on_error: OnError = "report"
    slots_per_host: Annotated[int, msgspec.Meta(ge=1, le=1024)] | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = DEFAULT_PORT
    endpoint: str | None = None
    status_interval_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    scheduling: SchedulingOptions = SchedulingOptions()
    limits: LimitOptions = LimitOptions()
    metrics: MetricsOptions = MetricsOptions()
    pack: PackOptions | None = None
    run: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z-]{0,63}$")] = ""
    is_dealt_out: bool = False
    keys: JobKeys | None = None
    frame_options: dict[str, str] = {}
    log_level: LogLevel = "info"

    def link_keys(self) -> JobKeys:
        """The keys, without which nothing is connected, not even over a socket of this machine.

        Raises:
            UserError: there are none.
        """
        if self.keys is None:
            raise UserError(
                "the job specification holds no keys, and hosts do not talk without: "
                "let the launcher write it, which makes them"
            )
        return self.keys


class _Version(msgspec.Struct):
    """What a specification of any version has; other members are not looked at."""

    version: int = SPEC_VERSION


def read_spec(path: Path) -> JobSpec:
    """Read and check a job specification.

    Raises:
        UserError: the file is missing, is not JSON, or holds a field or value that is not allowed.
    """
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=_Version).version
        spec = msgspec.json.decode(data, type=JobSpec) if version == SPEC_VERSION else None
    except OSError as error:
        raise UserError(f"cannot read the job specification {path}: {error.strerror}") from error
    except NOT_DECODED as error:
        raise UserError(f"the job specification {path} is not valid: {error}") from error
    if spec is None:
        raise UserError(
            f"the job specification {path} has version {version}, this image reads {SPEC_VERSION}: "
            "use the launcher and the image of one release"
        )
    return spec


def write_spec(path: Path, spec: JobSpec) -> None:
    """Write ``spec`` as indented JSON, making the folders above it; nobody else may read it, for its keys."""
    from framefleet.common.files.durable import write_whole

    write_whole(path, msgspec.json.format(msgspec.json.encode(spec), indent=2), mode=0o600)
