"""Compiling: what a program needs, what is free, and where compiled programs are kept."""

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
