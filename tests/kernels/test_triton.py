"""The searches in Triton, run by jax on this machine, beside the plain ones that a CPU's program takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l4t_jax.kernels import GPU, apart, bits, triton
from l4t_jax.kernels.search import FAR, shortest_paths
from l4t_jax.kernels.ways import ways


def maps(rng, width, height, batch, targets):
    """Cells to walk on, targets and agents at random, packed; no agent stands on a target."""
    free = rng.random((width, height, batch)) < 0.7
    aims = rng.random((width, height, targets, batch)) < 0.03
    agent = np.stack([rng.integers(0, limit, batch) for limit in (width, height, 4)]).astype(np.int32)
    aims[agent[0], agent[1], :, np.arange(batch)] = False
    return bits.pack(jnp.asarray(free), GPU), bits.pack(jnp.asarray(aims), GPU), jnp.asarray(agent)


@pytest.mark.parametrize("width, height, batch", [(8, 8, triton.MAPS), (5, 13, 2 * triton.MAPS), (9, 7, 130)])
def test_ways_and_paths_are_those_of_the_plain_searches(rng, width, height, batch):
    free, aims, agent = maps(rng, width, height, batch, 2)
    expected = jax.jit(lambda *maps: apart.ways(*maps, height, long=False))(free, aims, agent)
    got = jax.jit(lambda *maps: triton.ways(*maps, height, interpret=True))(free, aims, agent)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert 0 < np.mean(expected[0] == 0) < 1  # some have a way, some have none

    expected = jax.jit(lambda *maps: apart.shortest_paths(*maps, height, FAR))(free, aims[:, 0], agent)
    got = jax.jit(lambda *maps: triton.shortest_paths(*maps, height, FAR, interpret=True))(free, aims[:, 0], agent)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert 0 < np.mean(expected[0] == FAR) < 1


def test_searches_of_several_seeds_are_those_of_each(rng):
    free, aims, agent = (jnp.stack(jnp.split(leaf, 2, axis=-1)) for leaf in maps(rng, 8, 8, 2 * triton.MAPS, 2))
    expected = jax.jit(jax.vmap(lambda *maps: apart.ways(*maps, 8, long=False)))(free, aims, agent)
    got = jax.jit(jax.vmap(lambda *maps: triton.ways(*maps, 8, interpret=True)))(free, aims, agent)
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    aims = aims[:, :, 0]
    expected = jax.jit(jax.vmap(lambda *maps: apart.shortest_paths(*maps, 8, FAR)))(free, aims, agent)
    got = jax.jit(jax.vmap(lambda *maps: triton.shortest_paths(*maps, 8, FAR, interpret=True)))(free, aims, agent)
    jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated")
@pytest.mark.parametrize("search", [shortest_paths, ways])
def test_a_program_for_a_gpu_holds_the_kernel_and_no_loop_of_its_own(rng, search):
    """Lowered only, for a GPU that is not there: the text says what XLA would get."""
    free, aims, agent = maps(rng, 8, 8, 4, 1)
    aims = aims if search is ways else aims[:, 0]
    gpu = jax.sharding.AbstractDevice(device_kind="NVIDIA H100", num_cores=None, platform="cuda")
    mesh = jax.sharding.AbstractMesh((1,), ("x",), (jax.sharding.AxisType.Explicit,), abstract_device=gpu)
    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(lambda *maps: search(*maps, 8, GPU)).trace(free, aims, agent)
        on_gpu, on_cpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("cuda", "cpu"))
    assert "triton" in on_gpu and "stablehlo.while" not in on_gpu
    assert "triton" not in on_cpu and "stablehlo.while" in on_cpu


def test_without_triton_a_gpu_takes_the_plain_searches(rng, monkeypatch):
    free, aims, agent = maps(rng, 8, 8, 4, 1)
    monkeypatch.setattr(triton, "BACKEND", "jax.experimental.a_backend_that_is_gone")
    assert "pallas_call" not in str(jax.make_jaxpr(lambda *maps: ways(*maps, 8, GPU))(free, aims, agent))
    monkeypatch.undo()
    assert "pallas_call" in str(jax.make_jaxpr(lambda *maps: ways(*maps, 8, GPU))(free, aims, agent))
