"""A job's keys: new for each, in one file that only its owner reads, and shown nowhere."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from rich.pretty import pprint

from framefleet.common.errors import UserError
from framefleet.common.job.spec import JobSpec, read_spec, write_spec
from framefleet.common.protocol.keys import JobKeys
from framefleet.common.protocol.transport import make_keys
from tests.helpers.keys import KEYS

SECRETS = [KEYS.server_secret, KEYS.client_secret, KEYS.client_public, KEYS.server_public]


def test_every_job_has_keys_of_its_own() -> None:
    first, second = make_keys(), make_keys()
    found = {*msgspec.structs.astuple(first), *msgspec.structs.astuple(second)}
    assert len(found) == 8
    assert all(len(key) == 40 for key in found)


def test_keys_survive_the_specification_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "job" / "job.json"
    path.parent.mkdir()
    path.write_text("an older file")
    path.chmod(0o644)
    write_spec(path, JobSpec(job_id="j", keys=KEYS))
    assert read_spec(path).link_keys() == KEYS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_keys_nothing_is_connected() -> None:
    with pytest.raises(UserError, match=r"no keys.*launcher"):
        JobSpec(job_id="j").link_keys()


def test_keys_are_not_shown() -> None:
    spec = JobSpec(job_id="j", keys=KEYS)
    rich = io.StringIO()
    pprint(spec, console=Console(file=rich, width=500))
    for text in (repr(KEYS), str(spec), f"{spec!r}", rich.getvalue()):
        assert "JobKeys" in text
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("key", ["", "x" * 39, "x" * 41, "x" * 39 + "~", "x" * 39 + "\n", "é" * 40])
def test_what_is_no_key_is_refused_and_not_repeated(key: str) -> None:
    fields = {**msgspec.structs.asdict(KEYS), "server_secret": key}
    with pytest.raises(msgspec.ValidationError, match="server_secret") as caught:
        msgspec.convert(fields, JobKeys)
    assert not key or key not in str(caught.value)
