from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", ["a", "b", "c"]), ("info", ["b", "c"]), ("warning", ["c"]), ("error", [])],
)
def test_messages_from_a_level_on_are_on_standard_error(level: str, shown: list[str]) -> None:
    program = (
        "from framefleet.common.log import LOG, set_level, set_up_logging; set_up_logging(); "
        f"set_level({level!r}); LOG.debug('a'); LOG.info('b'); LOG.warning('%s', 'c')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"framefleet: {text}" for text in shown]
