from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framefleet.common.job.spec import ImageOptions
from framefleet.launcher.cli import main as launch
from framefleet.launcher.job import JobRequest
from framefleet.launcher.output.output_folder import DEMO_MARKER
from framefleet.launcher.output.output_lock import OutputLock
from framefleet.launcher.targets import local
from tests.helpers.jobs import REPOSITORY

FAKE_HOST = str(REPOSITORY / "tests" / "faults" / "fake_host.py")
LAUNCH = str(REPOSITORY / "launch.py")


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[JobRequest, bool]]:
    """The jobs that command lines lead to; nothing is run, and the work folder is a new one."""
    seen: list[tuple[JobRequest, bool]] = []

    def remember(request: JobRequest, lock: OutputLock, *, target: str) -> int:
        seen.append((request, (request.output / DEMO_MARKER).is_file()))
        return 0

    monkeypatch.setattr("framefleet.launcher.cli.run.run_job", remember)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    return seen


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
    return launch.main()


def test_options_reach_the_job(
    jobs: list[tuple[JobRequest, bool]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = (
        "--input videos --output out --instances 3 --slots-per-instance 2 --fps 30000/1001 --mode sharded"
    )
    assert call(monkeypatch, *options.split(), "--quality", "80", "--on-error", "fail") == 0
    request, is_demo = jobs[0]
    assert (request.input, request.output) == (tmp_path / "videos", tmp_path / "out")
    assert (request.instances, request.slots_per_instance) == (3, 2)
    assert request.sampling.options.fps == "30000/1001"
    assert (request.mode, request.on_error) == ("sharded", "fail")
    assert (request.image.format, request.image.quality) == ("jpg", 80)
    assert not is_demo


def test_run_may_be_named_and_has_defaults(
    jobs: list[tuple[JobRequest, bool]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("framefleet.launcher.cli.run.usable_cores", lambda: 7)
    assert call(monkeypatch, "run", "--input", "videos") == 0
    assert call(monkeypatch, "--input", "videos", "--instances", "3") == 0
    assert call(monkeypatch, "--input", "videos", "--instances", "8", "--format", "png") == 0
    first, second, third = (request for request, _ in jobs)
    assert (first.output, first.sampling.options.fps, first.mode) == (tmp_path / "output", "5", "coordinated")
    assert first.image == ImageOptions()
    assert [(job.instances, job.slots_per_instance) for job in (first, second, third)] == [
        (1, 7),
        (3, 2),
        (8, 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--input nowhere", "nowhere does not exist"),
        ("--input a-file", "a-file is a file: give the folder"),
        ("--input videos --output a-file", "a-file is not a folder"),
        ("--input videos --output videos/out", "lie in one another"),
        ("--input videos --output .", "lie in one another"),
        ("--input videos --output videos", "lie in one another"),
        ("--input videos --output link/out", "lie in one another"),
        ("--input videos --output used", "used already holds frames: choose another folder"),
        ("--input videos --instances 0", "0 is not in the range"),
        ("--input videos --instances 101", "101 is not in the range"),
        ("--input videos --slots-per-instance 0", "0 is not in the range"),
        ("--input videos --fps much", "'much'"),
        ("--input videos --fps -1", "-1"),
        ("--input videos --fps 5 --every 2", "one of --fps, --every, --keyframes and --timestamps, not"),
        ("--input videos --every 0", "0 is not in the range"),
        ("--input videos --max-frames-per-video 0", "0 is not in the range"),
        ("--input videos --start 2 --end 0:02", "--start 2 is not before --end 0:02"),
        ("--input videos --start soon", "'soon' is not a number of seconds: give seconds (7.5)"),
        ("--input videos --timestamps nowhere", "nowhere cannot be read: No such file"),
        ("--input videos --ranges a-file", "a-file is empty"),
        ("--input videos --format gif", "'gif'"),
        ("--input videos --quality 101", "101 is not in the range"),
        ("--input videos --quality 90 --format png", "--quality"),
        ("--input videos --resize big", "--resize big is not a size"),
        ("--input videos --min-sharpness inf", "--min-sharpness inf is no variance"),
        ("--input videos --min-sharpness nan", "nan"),
        ("--input videos --mode fast", "'fast'"),
        ("--input s3://bucket/videos", "--output output is no folder in S3"),
        ("--input videos --output s3://bucket/out", "--input videos is no folder in S3"),
        ("--input videos --cpus 0.5", "--target compose"),
        ("--input videos --target compose --memory 1", "1 is not in the range"),
        ("--input s3://bucket/videos --target local", "not on s3://bucket/videos"),
        ("--input videos --nonsense", "--nonsense"),
        ("videos", "videos"),
    ],
)
def test_mistakes_are_told_in_one_line(
    jobs: list[tuple[JobRequest, bool]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: str,
    words: str,
) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "link").symlink_to("videos")
    (tmp_path / "used" / "frames" / "v").mkdir(parents=True)
    assert call(monkeypatch, *arguments.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
    assert not jobs


def test_names_that_will_not_do_are_refused_before_the_job(
    jobs: list[tuple[JobRequest, bool]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    call_mmaction = ("--input", "videos", "--name-template", "mmaction2")
    (tmp_path / "videos" / "a.mp4").write_bytes(b"")
    inner = tmp_path / "videos" / "a" / "img_00005.jpg" / "b.mp4"
    inner.parent.mkdir(parents=True)
    inner.write_bytes(b"")
    assert call(monkeypatch, *call_mmaction) == 2
    assert "the folder 'a/img_00005.jpg': use another template" in capsys.readouterr().err
    assert call(monkeypatch, *call_mmaction, "--format", "png") == 0
    (tmp_path / "videos" / f"{'x' * 240}.mp4").write_bytes(b"")
    assert call(monkeypatch, "--input", "videos", "--name-template", "{video}/{stem}_{k}.{ext}") == 2
    assert "leave {stem} out" in capsys.readouterr().err
    assert len(jobs) == 1


def test_control_characters_do_not_reach_the_terminal(
    jobs: list[tuple[JobRequest, bool]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--input", "a\n\x1b[2Jb") == 2
    assert "a\\n\\x1b[2Jb does not exist" in capsys.readouterr().err


def test_without_input_the_demo_set_is_made(
    jobs: list[tuple[JobRequest, bool]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []

    def make(folder: Path, **options: Any) -> Path:
        made.append(folder)
        return folder / "videos"

    monkeypatch.setattr("framefleet.launcher.cli.run.make_demo_set", make)
    assert call(monkeypatch) == 0
    assert call(monkeypatch, "--output", "elsewhere") == 0
    assert made == [tmp_path / "demo"] * 2
    assert [(job.input, job.output, is_demo) for job, is_demo in jobs] == [
        (tmp_path / "demo" / "videos", tmp_path / "output", True),
        (tmp_path / "demo" / "videos", tmp_path / "elsewhere", False),
    ]


@pytest.fixture
def with_fake_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work folder with an input, a demo set of one empty file, and hosts that only pretend."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    monkeypatch.setattr(
        "framefleet.launcher.cli.run.make_demo_set", lambda folder, **options: tmp_path / "videos"
    )
    real = local.run_local

    def run_fake(request: JobRequest, **options: Any) -> Any:
        return real(request, command=[sys.executable, FAKE_HOST], **options)

    monkeypatch.setattr("framefleet.launcher.cli.run.run_local", run_fake)
    return tmp_path


def test_demo_replaces_its_own_earlier_output(
    with_fake_hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = with_fake_hosts / "output"
    assert call(monkeypatch) == 0
    assert f"Frames:   {output / 'frames'}" in capsys.readouterr().out.splitlines()
    (output / "frames" / "of-the-first-run").touch()
    (output / "notes.txt").touch()
    assert call(monkeypatch) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        ".framefleet-demo",
        ".framefleet-lock",
        "frames",
        "job",
        "manifest",
        "notes.txt",
    ]
    assert not (output / "frames" / "of-the-first-run").exists()


def test_demo_spares_what_is_not_its_own(
    with_fake_hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = with_fake_hosts / "output" / "frames" / "mine.jpg"
    frame.parent.mkdir(parents=True)
    frame.touch()
    assert call(monkeypatch) == 2
    assert "already holds frames" in capsys.readouterr().err
    assert frame.exists()


def test_two_jobs_do_not_share_an_output(
    with_fake_hosts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []

    def meanwhile(*arguments: object) -> None:
        if not codes:
            codes.append(-1)
            codes[0] = call(monkeypatch)

    monkeypatch.setattr("framefleet.launcher.console.progress.PlainView.update", meanwhile)
    assert call(monkeypatch) == 0
    assert codes == [2]
    assert "is running in --output" in capsys.readouterr().err
    assert list(with_fake_hosts.glob("output/frames/*/*.jpg"))


def test_users_own_job_in_the_demos_place_is_safe_from_the_next_demo(
    with_fake_hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = with_fake_hosts / "output"
    assert call(monkeypatch) == 0
    for name in ("frames", "manifest"):
        (output / name).rename(with_fake_hosts / name)
    assert call(monkeypatch, "--input", "videos") == 0
    assert call(monkeypatch) == 2
    assert list(output.glob("frames/*/*.jpg"))


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", LAUNCH, "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--instances" in ended.stdout
    modules = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    loaded = {module.partition(".")[0] for module in modules}
    assert "click" in loaded
    heavy = {"av", "boto3", "cv2", "msgspec", "numpy", "pyarrow", "rich", "zmq"}
    assert loaded.isdisjoint(heavy)
    assert {module for module in modules if module.startswith("framefleet.common.")} == {
        "framefleet.common.startup"
    }
    ours = {module for module in modules if module.startswith("targets.")}
    ours.discard("framefleet.launcher.cli.lazy_group")
    assert all(module.endswith("_options") for module in ours), "these need nothing but click"


def test_missing_packages_are_told_in_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-S", LAUNCH, "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stderr.count("\n") == 1
    assert "'click' is missing: run `make demo`" in ended.stderr


def test_metrics_are_asked_for_by_a_port(
    jobs: list[tuple[JobRequest, bool]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[object] = [object()]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found[0])
    options = ("--input", "videos", "--metrics-port", "9400")
    assert call(monkeypatch, "--input", "videos") == 0
    assert call(monkeypatch, *options) == 0
    assert call(monkeypatch, *options, "--metrics-address", "0.0.0.0") == 0
    assert [(request.metrics.port, request.metrics.address) for request, _ in jobs] == [
        (None, "127.0.0.1"), (9400, "127.0.0.1"), (9400, "0.0.0.0"),
    ]  # fmt: skip
    assert call(monkeypatch, *options, "--mode", "sharded") == 2
    assert "--mode coordinated" in capsys.readouterr().err
    found[0] = None
    assert call(monkeypatch, *options) == 2
    assert "framefleet[metrics]" in capsys.readouterr().err
    assert call(monkeypatch, *options, "--target", "compose") == 0, "the image has what it takes"
