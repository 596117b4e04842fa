"""The state diagram of the documentation is what the transition table gives."""

from __future__ import annotations

import pytest

from framefleet.coordinator.state import TRANSITIONS
from framefleet.coordinator.state_diagram import diagram, drawn_into
from tests.helpers.jobs import REPOSITORY

DOCS = REPOSITORY / "docs" / "scheduling.md"


def test_the_documentation_shows_the_table() -> None:
    text = DOCS.read_text()
    assert drawn_into(text) == text, "run: python -m framefleet.coordinator.state_diagram docs/scheduling.md"


def test_every_transition_is_on_an_arrow() -> None:
    lines = diagram().splitlines()
    for (before, event), after in TRANSITIONS.items():
        (line,) = [line for line in lines if line.strip().startswith(f"{before.value} --> {after.value}:")]
        assert event in line.partition(": ")[2].split(", ")


def test_final_states_are_those_in_which_units_may_stay() -> None:
    ends = {line.split()[0] for line in diagram().splitlines() if line.endswith("--> [*]")}
    assert ends == {"done", "void", "failed", "dropped"}


def test_a_file_without_a_place_is_told() -> None:
    with pytest.raises(ValueError, match="no place"):
        drawn_into("nothing")
