"""The diagram of a unit's life, drawn from ``TRANSITIONS``; ``docs/scheduling.md`` holds what this gives.

``python -m framefleet.coordinator.state_diagram docs/scheduling.md`` puts the present one into the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from framefleet.coordinator.state import OPEN, TRANSITIONS, UnitState

BEGIN, END = "<!-- drawn by python -m framefleet.coordinator.state_diagram -->", "<!-- end of the diagram -->"


def diagram() -> str:
    """The table as a Mermaid state diagram, events of the same two states on one arrow."""
    arrows: dict[tuple[UnitState, UnitState], list[str]] = {}
    for (before, event), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(event)
    lines = [f"    [*] --> {UnitState.PENDING.value}"]
    lines += [
        f"    {before.value} --> {after.value}: {', '.join(events)}"
        for (before, after), events in arrows.items()
    ]
    lines += [f"    {state.value} --> [*]" for state in UnitState if state not in OPEN]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def drawn_into(text: str) -> str:
    """``text`` with the present diagram between the two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the diagram: the lines {BEGIN!r} and {END!r} are missing")
    return f"{before}{BEGIN}\n\n{diagram()}\n\n{END}{after}"


def main() -> None:
    """Put the diagram into the files that are named."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(drawn_into(path.read_text()))


if __name__ == "__main__":
    main()
