"""Small changes of the code, one at a time, and whether the tests that are about it notice.

``python -m tests.campaigns.code_mutants --runs 100`` copies the project, changes one place of one module
there (a comparison, a number, a condition, a statement left out), drawn by the seed, and runs the unit tests
of that module. It prints the changes that nobody noticed, and the score: the share of those that were. It is
information, and no test: some changes make no difference. A change takes some 10 s.
"""

from __future__ import annotations

import ast
import copy
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from tests.helpers.jobs import copy_project

TESTS: Final = {
    "worker/publishing/publisher.py": (
        "worker/publishing/test_publisher",
        "worker/publishing/test_attempts",
        "common/output/test_packing",
    ),
    "launcher/output/merge.py": ("launcher/output/test_merge", "launcher/output/test_merge_shards"),
    "launcher/output/completed_units.py": ("launcher/output/test_resume", "common/output/test_damaged_parts"),
    "launcher/output/resume.py": ("launcher/output/test_resume", "common/output/test_damaged_parts"),
    "coordinator/journal.py": ("coordinator/test_journal", "coordinator/test_server"),
}
SWAPS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
LONGEST_S: Final = 300.0


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Every changed tree, with the line and what was done there."""
    for index, node in enumerate(ast.walk(tree)):
        for way in _ways(node):
            changed = copy.deepcopy(tree)
            target = next(other for at, other in enumerate(ast.walk(changed)) if at == index)
            _apply(target, way)
            yield getattr(node, "lineno", 0), way, changed


def _ways(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        return ["another comparison"]
    if isinstance(node, ast.BoolOp):
        return ["and for or", "without its last operand"]
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        return ["the other truth"]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return ["one more"]
    if isinstance(node, (ast.If, ast.While, ast.IfExp)):
        return ["never", "the contrary"] if not isinstance(node, ast.While) else ["never"]
    if isinstance(node, (ast.Expr, ast.AugAssign)) and not isinstance(
        getattr(node, "value", None), ast.Constant
    ):
        return ["left out"]
    if isinstance(node, ast.Return) and node.value is not None:
        return ["returns None"]
    return []


def _apply(node: ast.AST, way: str) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        if way == "and for or":
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        else:
            node.values.append(ast.Constant(isinstance(node.op, ast.And)))
            del node.values[-2]
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else int(str(node.value)) + 1
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        node.test = ast.Constant(False) if way == "never" else ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Expr):
        node.value = ast.Constant(None)
    elif isinstance(node, ast.AugAssign):
        node.op, node.value = ast.Add(), ast.Constant(0)
    elif isinstance(node, ast.Return):
        node.value = ast.Constant(None)


def survives(project: Path, module: str, text: str) -> bool:
    """Whether the tests of a module do not notice that this is its text."""
    place = project / module
    original = place.read_text()
    place.write_text(text)
    names = [f"tests/unit/{name}.py" for name in TESTS[module]]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "60",
        *names,
    ]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return False
    finally:
        place.write_text(original)
    return done.returncode == 0


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--module", "modules", type=click.Choice(list(TESTS)), multiple=True, help="[default: all]")
def main(runs: int, seed: int, modules: tuple[str, ...]) -> None:
    """Change the code, and see which tests notice."""
    began, chance = time.monotonic(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="framefleet-mutants-") as name:
        project = Path(name) / "project"
        copy_project(project)
        every = [
            (module, line, way, changed)
            for module in modules or TESTS
            for line, way, changed in mutants(ast.parse((project / module).read_text()))
        ]
        tried, noticed = Counter[str](), Counter[str]()
        for module, line, way, changed in chance.sample(every, min(runs, len(every))):
            tried[module] += 1
            if survives(project, module, ast.unparse(ast.fix_missing_locations(changed))):
                text = (project / module).read_text().splitlines()[line - 1].strip()
                print(f"SURVIVES {module}:{line}: {way}: {text}", flush=True)
            else:
                noticed[module] += 1
    for module, count in tried.items():
        print(f"{module}: {noticed[module]} of {count} noticed")
    total, seen = tried.total(), noticed.total()
    took_s = time.monotonic() - began
    print(f"{seen} of {total} changes noticed, {seen / total:.0%}, of {len(every)}, in {took_s:.0f} s")


if __name__ == "__main__":
    main()
