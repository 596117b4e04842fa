"""Imports go sideways or down, as ARCHITECTURE.md lists the floors, and never in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.jobs import REPOSITORY

TOPS = ("common", "coordinator", "launcher", "worker")
PREFIX = "framefleet."


def modules() -> dict[str, Path]:
    """Every module of the product by its name without ``framefleet``, packages included."""
    found = {}
    for top in TOPS:
        for path in (REPOSITORY / top).rglob("*.py"):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def imported(tree: ast.AST) -> Iterator[str]:
    """The product's modules that a module imports when it runs, wherever the statement stands.

    What only a type checker reads is left out: it may name a type of a module that imports this one.
    """
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        names = [alias.name for alias in tree.names]
    elif isinstance(tree, ast.ImportFrom) and tree.module:
        names = [f"{tree.module}.{alias.name}" for alias in tree.names]
    else:
        names = []
    for name in names:
        if name.startswith(PREFIX):
            ours = name.removeprefix(PREFIX)
            module = ours if ours in MODULES else ours.rpartition(".")[0]
            if module:  # else it is of the package itself, on which all stands
                yield module
    for child in ast.iter_child_nodes(tree):
        yield from imported(child)


GRAPH = {name: set(imported(ast.parse(path.read_text()))) for name, path in MODULES.items()}


def folder_of(module: str) -> str:
    return MODULES[module].parent.relative_to(REPOSITORY).as_posix()


def floors() -> dict[str, int]:
    """The floor of each folder, 0 the lowest, as the document lists them."""
    (block,) = re.findall(r"```floors\n(.*?)```", (REPOSITORY / "ARCHITECTURE.md").read_text(), re.DOTALL)
    rows = [line.split() for line in reversed(block.splitlines())]
    return {folder: number for number, row in enumerate(rows) for folder in row}


FLOORS = floors()


def may_import(importer: str, target: str) -> bool:
    """Whether a module of one folder may import one of another, at run time."""
    here, there = folder_of(importer), folder_of(target)
    if here == there:
        return True
    if {here.partition("/")[0], there.partition("/")[0]} == {"coordinator", "worker"}:
        return False
    if here in there.split("/")[:1]:  # what is directly in a top folder puts its rooms together
        return True
    return FLOORS[there] < FLOORS[here]


def test_every_folder_has_a_floor() -> None:
    rooms = {folder_of(name) for name in MODULES if MODULES[name].name != "__init__.py"}
    assert {room for room in rooms if not room.endswith("/assets")} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_nothing_from_above(name: str) -> None:
    assert [target for target in GRAPH[name] if not may_import(name, target)] == []


def test_there_is_no_circle() -> None:
    tuple(TopologicalSorter(GRAPH).static_order())  # raises CycleError, and names it


def test_what_goes_up_is_found() -> None:
    assert not may_import("common.files.durable", "common.job.spec")
    assert not may_import("worker.agent", "coordinator.core.core")
    assert not may_import("coordinator.core.core", "launcher.job")
    assert not may_import("worker.video.packets", "worker.extraction.extract")
    assert may_import("worker.agent", "worker.slots.slot_process")
    assert may_import("launcher.plan.command", "worker.video.probe")


def test_imports_of_every_form_are_seen() -> None:
    text = "import framefleet.worker.agent\nfrom framefleet.common.job import spec\ndef f():\n"
    text += "    from framefleet.common.errors import UserError\n"
    text += "if TYPE_CHECKING:\n    from framefleet.launcher.job import JobRequest\n"
    assert set(imported(ast.parse(text))) == {"worker.agent", "common.job.spec", "common.errors"}
