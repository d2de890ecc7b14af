"""A run that does not fit into the memory is refused in one sentence, before anything of it is allocated."""

import re
from pathlib import Path
from typing import Any

import jax
import pytest

from l4t_jax import api
from l4t_jax.config import Config
from l4t_jax.errors import TooLarge
from l4t_jax.training import compilation, programs

SMALL = Config(num_envs=8, num_steps=4, minibatches=2, hidden=16, devices=1, total_steps=64)
# Free memory, the bytes that a compiled program is said to need, settings, the sentence. 0.9 of what is free may be
# taken. Maps of 10^12 environments for 4 steps on 10 x 10 cells: 400 TB. A student of 65,536 units: 4.3 billion weights
# between its layers alone, four times over, 4 bytes each: 69 GB.
CASES: dict[str, tuple[float, dict[str, float], dict[str, Any], str]] = {
    "its maps": (
        3e6, {}, dict(num_envs=10**12, level_pool=16),
        r"`num_envs=10{12}` needs at least 424 TB of memory and 3 MB are free; try fewer `num_envs`, .*",
    ),
    "its student": (
        20e9, {}, dict(hidden=2**16),
        r"a student of `hidden=65536` needs at least [67]\d.* GB .*; try a smaller `hidden` .*",
    ),
    "its block": (
        3e6, {"block": 3e6}, {},
        "`num_envs=8` needs at least 3 MB of memory and 3 MB are free; try fewer `num_envs`, .*",
    ),
    "its evaluation": (
        20e9, {"student": 1e12}, {},
        "evaluating needs at least 1 TB of memory .*; try fewer `validation_levels`, .*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_what_does_not_fit_is_named(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, needs, settings, words = CASES[what]
    compiled: list[set[str]] = []

    def compile_all(made: dict[str, Any], **how: Any) -> dict[str, Any]:
        compiled.append(set(made))
        return {name: needs.get(name, 1e3) for name in made}

    monkeypatch.setattr(compilation, "compile_all", compile_all)
    monkeypatch.setattr(compilation, "needed_bytes", lambda program: program)
    monkeypatch.setattr(compilation, "free_bytes", lambda: free)
    with pytest.raises(TooLarge) as error:
        api.train(SMALL, run_dir=str(tmp_path / "run"), **settings)
    assert re.fullmatch(words, str(error.value)), str(error.value)
    assert not (tmp_path / "run").exists()
    assert len(compiled) == (1 if needs else 0)  # once at most: no search


def test_what_runs_once_is_hardly_optimized_and_what_runs_for_long_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, less = set[str](), set[str]()

    class Enough(Exception):
        pass

    def compile_all(made: dict[str, Any], optimized: dict[str, int], **how: Any) -> dict[str, Any]:
        names.update(made)
        less.update(optimized)
        raise Enough

    monkeypatch.setattr(compilation, "compile_all", compile_all)
    with pytest.raises(Enough):
        api.train(SMALL, run_dir=str(tmp_path / "run"))
    assert names - less == {"block", "student", "others"}
    assert less < names  # none that is called something else by now


def test_memory_that_runs_out_while_running_ends_in_a_sentence() -> None:
    config = Config(num_envs=64)
    with pytest.raises(TooLarge, match="ran out with `num_envs=64`; try fewer"), programs.memory_errors(config):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes")
    with pytest.raises(jax.errors.JaxRuntimeError), programs.memory_errors(config):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
