"""Imports of the package point down, without a circle; device modules import no host module."""

import ast
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import l4t_jax

ROOT = Path(l4t_jax.__file__).parent
# From the lowest layer up; a module may import its own layer and those below. The longest name decides.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "interfaces"),
    ("files", "presets"),
    ("config",),
    ("commandline", "extensions"),
    ("parallel",),
    ("envs.cells", "envs.state"),
    ("kernels",),
    ("envs",),
    ("abstraction",),
    ("skills",),
    ("teacher",),
    ("agents",),
    ("evaluation",),
    ("reporting.progress",),  # which only needs what is outside the package
    ("imported",),
    ("reporting",),
    ("training", "trained"),
    ("saved",),
    ("student", "interfaces.gym_envs"),
    ("play", "compare", "api"),
    ("run", "evaluate", "export", "compare.__main__", "play.__main__", "tasks", "teacher.commands", "teacher.__main__"),
    ("__main__",),
)
# Jittable code, and what has neither files nor clocks. The others are host modules, but for NEUTRAL.
DEVICE = (
    "parallel", "kernels", "envs", "abstraction", "skills", "agents", "evaluation.playing", "evaluation.parts",
    "teacher.policy", "training.trainer",
)  # fmt: skip
# A registry asks `extensions` who may register, before anything is traced.
NEUTRAL = ("errors", "presets", "config", "extensions")


def module_name(path: Path) -> str:
    """ "envs.task" of `l4t_jax/envs/task.py`, "envs" of `l4t_jax/envs/__init__.py`, "" of the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imported(name: str) -> Iterator[str]:
    """The modules of the package that a module imports anywhere in its text, for type checkers too."""
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative imports are not counted here"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [one if one.removeprefix("l4t_jax.") in modules() else str(node.module) for one in inner]
        else:
            continue
        for one in found:
            if one.startswith("l4t_jax."):
                yield one.removeprefix("l4t_jax.")


@functools.cache
def graph() -> dict[str, frozenset[str]]:
    """Module -> what it imports; without the package's own `__init__`, whose names are lazy."""
    return {name: frozenset(imported(name)) - {name} for name in modules() if name}


def within(name: str, names: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in names)


def layer(name: str) -> int:
    found = [(len(one), at) for at, names in enumerate(LAYERS) for one in names if within(name, (one,))]
    assert found, f"{name} is in no layer"
    return max(found)[1]


def test_the_graph_is_seen() -> None:
    assert "reporting.run_folder" in graph()["training.loop"]
    assert "evaluation.simulator" in graph()["api"], "imports within functions count"
    assert len(graph()) > 50


def test_no_import_points_up() -> None:
    up = [f"{name} -> {other}" for name, others in graph().items() for other in others if layer(other) > layer(name)]
    assert not up


def test_there_is_no_circle() -> None:
    """But for a package's `__init__`, which may open its own modules when they are asked for."""
    open_edges = {
        name: {other for other in others if not other.startswith(f"{name}.")} for name, others in graph().items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in sorted(open_edges.get(name, ())):
                visit(other, (*path, name))
            done.add(name)

    for name in open_edges:
        visit(name, ())


def test_device_modules_import_no_host_module() -> None:
    bad = [
        f"{name} -> {other}"
        for name, others in graph().items()
        if within(name, DEVICE)
        for other in others
        if not within(other, (*DEVICE, *NEUTRAL))
    ]
    assert not bad


@pytest.mark.parametrize("lowest", ["errors", "files", "presets", "config", "parallel"])
def test_the_lowest_modules_import_nothing_above_the_errors(lowest: str) -> None:
    mine = [name for name in graph() if within(name, (lowest,))]
    assert set(itertools.chain.from_iterable(graph()[name] for name in mine)) <= {"errors", "presets", *mine}


def test_importing_the_package_is_cheap_and_the_names_are_there() -> None:
    code = (
        "import sys, l4t_jax; heavy = {'torch', 'jax', 'navix', 'numpy', 'matplotlib'} & set(sys.modules); "
        "assert not heavy, heavy; l4t_jax.train; l4t_jax.Config; assert 'torch' not in sys.modules; "
        "import l4t_jax.evaluate; assert callable(l4t_jax.evaluate); "
        "assert all(hasattr(l4t_jax, name) for name in l4t_jax.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        l4t_jax.trian  # noqa: B018
