"""Compiling: what a program needs, what is free, and where compiled programs are kept."""

import threading

import jax
import jax.numpy as jnp
import pytest

from l4t_jax.training import compilation


def test_the_memory_of_a_program_is_what_goes_in_and_out_and_between() -> None:
    number = 1 << 18

    def scan(x: jax.Array) -> jax.Array:
        return jnp.sort(x) * 2  # cannot be done in place of a donated x

    shape = jax.ShapeDtypeStruct((number,), jnp.float32)
    plain = compilation.compile_all({"plain": (jax.jit(scan), (shape,))})["plain"]
    donated = compilation.compile_all({"donated": (jax.jit(scan, donate_argnums=0), (shape,))})["donated"]
    assert 2 * 4 * number <= compilation.needed_bytes(plain) < 6 * 4 * number
    assert compilation.needed_bytes(donated) <= compilation.needed_bytes(plain) - 4 * number


def test_a_program_that_is_needed_later_is_waited_for_when_it_is_called() -> None:
    began, go_on = threading.Event(), threading.Event()

    class Slow:
        """A jitted function whose compiling takes until `go_on`."""

        def lower(self, *args: object) -> "Slow":
            return self

        def compile(self, options: dict[str, object] | None) -> object:
            began.set()
            assert go_on.wait(60)
            return lambda x: x + 1

    quick = jax.jit(lambda x: x * 2)
    one = jnp.float32(1)
    compiled = compilation.compile_all({"quick": (quick, (one,)), "slow": (Slow(), (one,))}, later=["slow"])
    assert compiled["quick"](one) == 2  # though the other is not compiled
    assert began.wait(60) and not go_on.is_set()
    go_on.set()
    assert compiled["slow"](41) == 42


@pytest.mark.parametrize("when", ["now", "later"])
def test_a_program_that_cannot_be_compiled_is_an_error_where_it_is_waited_for(when: str) -> None:
    class Broken:
        def lower(self, *args: object) -> "Broken":
            return self

        def compile(self, options: dict[str, object] | None) -> object:
            raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    later = ["broken"] if when == "later" else []
    with pytest.raises(jax.errors.JaxRuntimeError, match="broken"):
        compilation.compile_all({"broken": (Broken(), ())}, later=later)["broken"]()


def test_a_program_that_is_hardly_optimized_computes_the_same() -> None:
    def mixed(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (8, 128)) @ jnp.ones((128, 4)) + jnp.sin(jnp.arange(4.0))

    made = {"mixed": (jax.jit(mixed), (jax.random.key(3),))}
    usual, hardly = (
        compilation.compile_all(made, optimized=how)["mixed"](made["mixed"][1][0]) for how in ({}, {"mixed": 0})
    )
    assert jnp.allclose(usual, hardly, rtol=1e-5)


def test_only_what_is_said_is_optimized_less() -> None:
    given: dict[str, object] = {}

    class Program:
        def __init__(self, name: str) -> None:
            self.name = name

        def lower(self, *args: object) -> "Program":
            return self

        def compile(self, options: dict[str, object] | None) -> object:
            given[self.name] = options
            return None

    compilation.compile_all({name: (Program(name), ()) for name in ("short", "long")}, optimized={"short": 1})
    assert given == {"short": {"xla_backend_optimization_level": 1}, "long": None}


def test_the_free_memory_of_this_machine_can_be_told() -> None:
    free = compilation.free_bytes()
    assert free is not None and 1e8 < free < 1e14


def test_no_program_is_kept_where_the_home_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
        compilation.keep_compiled()
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
