"""The core, the policy and the simulator import nothing that does IO, nor does anything that they import.

The imports are walked through the syntax trees of ``common`` and ``coordinator``. What is allowed is
listed, not what is forbidden: a module that nobody thought of is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
OURS = ("framefleet", "targets", "launch", "benchmarks")
PURE = {
    "__future__", "array", "bisect", "collections", "collections.abc", "dataclasses", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "math", "msgspec", "operator", "random", "re", "string",
    "typing",
}  # fmt: skip
EXCEPTIONS = {
    # each has functions that read or write the job's files, for the processes around the core, which takes
    # the types beside them: plain data
    ("common/job/spec.py", "pathlib"),
    ("common/job/selection.py", "pathlib"),
    # imported within a function that only the launcher and the hosts call: writes a file, makes keys,
    # checks a JPEG library
    ("common/job/spec.py", "framefleet.common.files.durable"),
    ("common/job/image_options.py", "cv2"),
}
ROOTS = [
    "coordinator/core/core.py",
    "coordinator/scheduling/policy.py",
    "coordinator/core/invariants.py",
    *(
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "coordinator" / "simulation").glob("*.py"))
        if path.stem != "__main__"
    ),
]
BUILTINS_WITH_IO = {"open", "input", "print", "breakpoint", "exec", "compile", "__import__"}
MAY_EVALUATE = {"coordinator/simulation/transcript.py"}  # reads a transcript that a test holds


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, wherever the statement stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            yield node.module
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if file_of(f"{node.module}.{alias.name}")
            )


def file_of(module: str) -> str | None:
    """The file of a module of this project; None if it is none."""
    base = ROOT / module.removeprefix("framefleet.").replace(".", "/")
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.exists():
            return str(path.relative_to(ROOT))
    return None


def reached() -> dict[str, str]:
    """All files that the roots lead to, and which file led there."""
    found, todo = {root: root for root in ROOTS}, list(ROOTS)
    while todo:
        name = todo.pop()
        for module in imports(ast.parse((ROOT / name).read_text())):
            path = file_of(module)
            if path is not None and path not in found and (name, module) not in EXCEPTIONS:
                found[path] = name
                todo.append(path)
    return found


def violations(name: str, source: str) -> list[str]:
    tree = ast.parse(source)
    bad = [
        f"imports {module}"
        for module in imports(tree)
        if module.partition(".")[0] not in OURS and module not in PURE and (name, module) not in EXCEPTIONS
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            allowed = node.func.id == "eval" and name in MAY_EVALUATE
            if node.func.id in BUILTINS_WITH_IO | {"eval"} and not allowed:
                bad.append(f"calls {node.func.id}")
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "random"
            and node.attr != "Random"
        ):
            bad.append(f"uses random.{node.attr}, whose seed is nobody's")
    return bad


@pytest.mark.parametrize("name", sorted(reached()))
def test_nothing_that_the_core_or_the_simulator_imports_does_io(name: str) -> None:
    assert violations(name, (ROOT / name).read_text()) == [], f"{name}, imported by {reached()[name]}"


def test_the_walk_finds_what_it_should() -> None:
    found = reached()
    for name in (
        "coordinator/state.py",
        "common/protocol/messages.py",
        "common/job/sampling.py",
        "coordinator/core/stragglers.py",
    ):
        assert name in found
    for name in (
        "coordinator/server.py",
        "coordinator/catalogue.py",
        "common/protocol/transport.py",
        "worker/agent.py",
    ):
        assert name not in found, f"imported by {found.get(name)}"


@pytest.mark.parametrize(
    "source",
    ["import socket", "import os.path", "from time import monotonic", "def f():\n    import zmq", "open('x')",
     "import random\nrandom.random()", "from pathlib import Path", "import threading", "eval('1')"],
)  # fmt: skip
def test_what_is_not_allowed_is_found(source: str) -> None:
    assert violations("coordinator/core/core.py", source)


def test_exceptions_are_still_needed() -> None:
    for name, module in EXCEPTIONS:
        found = set(imports(ast.parse((ROOT / name).read_text())))
        assert module in found or module.startswith("framefleet."), (
            f"{name} does not import {module} any more"
        )
