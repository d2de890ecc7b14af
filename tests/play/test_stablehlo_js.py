"""The page's StableHLO interpreter gives what JAX gives, operation by operation. Runs in node."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import play_parity
import pytest
from jax import lax

from l4t_jax.errors import ConfigError
from l4t_jax.play import stablehlo

RNG = np.random.default_rng(0)
RUN = """
const cases = JSON.parse(require("fs").readFileSync(0, "utf8")), found = {};
const plain = x => Object.is(x, -0) ? "-0" : String(x);
for (const [name, {program, inputs}] of Object.entries(cases)) {
  const given = {};
  for (const [input, [element]] of program.inputs) given[input] = Arrays.decode(inputs[input], element);
  try {
    const results = StableHLO.link(program)(given);
    found[name] = Object.fromEntries(Object.entries(results).map(([key, array]) => [key, Array.from(array, plain)]));
  } catch (error) { found[name] = {error: error.stack}; }
}
console.log(JSON.stringify({found, operations: StableHLO.operations()}));
"""


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32) * 2


def whole(dtype: Any, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, size=shape, dtype=dtype, endpoint=True)


def below(most: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, most, size=shape).astype(np.int32)


def integers(a: jax.Array, b: jax.Array, by: jax.Array) -> Any:
    return (
        a + b, a - b, a * b, jnp.maximum(a, b), jnp.minimum(a, b), a & b, a | b, a ^ b, ~a,
        lax.div(a, b), lax.rem(a, b), a // b, a % b, a < b, a >= b, a > b, a <= b, a == b, a != b,
        lax.shift_left(a, by), lax.shift_right_logical(a, by), lax.shift_right_arithmetic(a, by),
        lax.population_count(a), lax.clz(a),
        jnp.sum(a, dtype=a.dtype), jnp.max(a, 0), jnp.min(a, 1), jnp.prod(a, 1, dtype=a.dtype),
        jnp.cumsum(a, 0, dtype=a.dtype), jnp.sort(a, 0), lax.integer_pow(a, 3), jnp.clip(a, 3, 90),
        lax.bitcast_convert_type(a, jnp.int8),
        *(a.astype(kind) for kind in (jnp.float32, jnp.int8, jnp.uint16, jnp.int32, jnp.uint32, bool)),
    )  # fmt: skip


def random_numbers(words: jax.Array) -> Any:
    key = jax.random.wrap_key_data(words)
    return (
        jax.random.bits(key, (5,)), jax.random.bits(key, (5,), jnp.uint8), jax.random.randint(key, (4,), 0, 7),
        jax.random.key_data(jax.random.split(key, 3)), jax.random.key_data(jax.random.fold_in(key, 9)),
        jax.random.uniform(key, (3,)), jax.random.normal(key, (3,)), jax.random.permutation(key, 6),
        jax.random.categorical(key, jnp.zeros(5)), jax.random.bernoulli(key, 0.3, (9,)),
    )  # fmt: skip


NHWC = ("NHWC", "HWIO", "NHWC")
A, S, T = floats(4, 6), below(4, 3), below(6, 5)
CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "two floats": (
        lambda a, b: (a + b, a - b, a * b, a / b, jnp.maximum(a, b), jnp.minimum(a, b), lax.rem(a, b),
                      lax.pow(abs(a), b), lax.atan2(a, b), a < b, jnp.select([a > 1, a > 0], [a, b], 7)),
        [floats(5, 3), floats(5, 3)],
    ),
    "one float": (
        lambda a: (abs(a), -a, jnp.exp(a), jnp.expm1(a), jnp.log(abs(a)), jnp.log1p(abs(a)), jnp.tanh(a),
                   jax.nn.sigmoid(a), jnp.sqrt(abs(a)), lax.rsqrt(abs(a)), jnp.cbrt(a), jnp.sin(a), jnp.cos(a),
                   jnp.tan(a),
                   jnp.floor(a), jnp.ceil(a), jnp.sign(a), jnp.isfinite(a / 0.0), lax.optimization_barrier(a)),
        [floats(40)],
    ),
    "rounding and gates": (
        lambda a: (jnp.round(a), lax.round(a, lax.RoundingMethod.AWAY_FROM_ZERO), lax.erf(a), jax.nn.gelu(a),
                   jax.nn.softmax(a), jax.nn.silu(a)),
        [np.arange(-4, 4, 0.5, dtype=np.float32)],
    ),
    "special floats": (
        lambda a: (a + 1, jnp.maximum(a, 0), a < 0, a == a, lax.sign(a), jnp.sort(a), jnp.argsort(a), jnp.argmax(a),
                   jnp.argmin(a), a.astype(jnp.int32), a.astype(jnp.uint8), a.astype(bool), jnp.clip(a, -1, 1)),
        [np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e9, -1e10, 3.7, -3.7, 300], np.float32)],
    ),
    "signs": (lambda a, b: (abs(a), abs(b), -a, jnp.sign(a)), [whole(np.int32, 9), whole(np.int8, 9)]),
    "truth": (
        lambda a, b: (a & b, a | b, a ^ b, ~a, a.astype(jnp.float32), a.any(0), a.all(1), jnp.sum(a, 1), a == b, a < b),
        [below(2, 4, 6).astype(bool), below(2, 4, 6).astype(bool)],
    ),
    "places": (
        lambda a: (a.T, a[1:3, ::2], a[::-1], a.reshape(2, -1), jnp.pad(a, ((1, 2), (0, 1)), constant_values=7),
                   lax.pad(a, jnp.float32(5), ((-1, 2, 1), (2, -1, 2))), jnp.concatenate([a, a * 2], 1),
                   jnp.concatenate([a, a * 2], 0), jnp.stack([a, a], 1), jnp.roll(a, 2, 1), jnp.flip(a),
                   a[1], a[:, 2:3],
                   jnp.broadcast_to(a[:, None], (4, 3, 6)), lax.broadcast_in_dim(a, (6, 4, 2), (1, 0)),
                   jnp.repeat(a, 2, 0), jnp.tile(a, (2, 2)), jnp.arange(7), jnp.moveaxis(a[None], 0, -1)),
        [A],
    ),
    "dynamic places": (
        lambda a, s, t: (lax.dynamic_slice(a, (s, t), (2, 3)), lax.dynamic_update_slice(a, a[:2, :2] * 9, (s, t)),
                         a[s], a[:, t], a[s, t]),
        [A, np.int32(3), np.int32(-1)],
    ),
    "gather": (
        lambda a, s, t: (a[s], a[:, t], a[s, t[:3]], jnp.take(a, s, axis=1), a[s[:, None], t[None, :3]],
                         jnp.take_along_axis(a, t[None].repeat(4, 0), 1),
                         jax.vmap(lambda row, k: lax.dynamic_slice(row, (k,), (2,)))(a, t[:4])),
        [A, S, T],
    ),
    "scatter": (
        lambda a, s, t: (a.at[s].set(9.0), a.at[:, t].add(1.0), a.at[s, t[:3]].multiply(3.0), a.at[s].max(a[:3]),
                         a.at[1, 2].set(5), a.at[s, t[:3]].min(-9.0), a.at[s + 3].add(1.0, mode="drop"),
                         jax.vmap(lambda row, k: row.at[k].set(7))(a, t[:4]),
                         jnp.zeros((4, 6), bool).at[s, t[:3]].max(True), a.at[s, t[:3]].apply(jnp.abs),
                         jax.vmap(lambda row, k: lax.dynamic_update_slice(row, row[:2], (k,)))(a, t[:4])),
        [A, S, T],
    ),
    "products": (
        lambda a, b, c: (a @ b, jnp.einsum("bij,bjk->bik", c, c), jnp.einsum("ij,kj->ik", a, a), a @ b[:, 0],
                         jnp.einsum("bij,bkj->kib", c, c), jnp.tensordot(c, c, ((0, 2), (0, 1)))),
        [A, floats(6, 3), floats(2, 3, 3)],
    ),
    "products of integers": (lambda a, b: (a @ b,), [whole(np.int32, 3, 4), whole(np.int32, 4, 2)]),
    "convolution": (
        lambda x, k: (lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=NHWC),
                      lax.conv_general_dilated(x, k, (2, 1), ((1, 2), (0, 1)), lhs_dilation=(2, 1), rhs_dilation=(1, 2),
                                               dimension_numbers=NHWC),
                      lax.conv_general_dilated(x, jnp.concatenate([k[:, :, :1]] * 2, 3), (1, 1), "VALID",
                                               feature_group_count=3, dimension_numbers=NHWC)),
        [floats(2, 5, 6, 3), floats(3, 2, 3, 3)],
    ),
    "windows": (
        lambda a: (lax.reduce_window(a, -jnp.inf, lax.max, (2, 3), (1, 2), "SAME"), jnp.cumsum(a, 1), jnp.cumprod(a, 0),
                   lax.reduce_window(a, 0.0, lax.add, (2, 2), (2, 1), ((1, 0), (0, 2)), base_dilation=(2, 1),
                                     window_dilation=(1, 2)),
                   lax.cummax(a)),
        [A],
    ),
    "reductions": (
        lambda a: (jnp.argmax(a, 0), jnp.argmin(a, 1), a.sum((0, 1)), a.max(1), jnp.prod(a), jnp.mean(a, 0), jnp.var(a),
                   lax.reduce(a, jnp.float32(0), lambda x, y: x * 0.5 + y, (1,))),
        [A],
    ),
    "sorting": (
        lambda a, k: (jnp.sort(a, 0), jnp.argsort(a, 1), lax.sort((k, a), num_keys=1), lax.top_k(a, 3),
                      jnp.sort(k, 1, descending=True)),
        [A, below(3, 4, 6)],
    ),
    "control": (
        lambda n, x: (lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[2], c[1] * 1.5), (0, x, x + 1)),
                      lax.fori_loop(0, n, lambda k, c: c.at[k % 3].add(k), x),
                      lax.scan(lambda c, y: (c + y, c * y), x[0], x),
                      lax.cond(n > 3, lambda: x, lambda: -x), lax.map(lambda y: y * 2, x),
                      lax.switch(n, [lambda: x, lambda: x * 2, lambda: x * 3]), lax.associative_scan(jnp.add, x)),
        [np.int32(5), floats(3)],
    ),
    "random numbers": (random_numbers, [whole(np.uint32, 2)]),
}  # fmt: skip
for kind in (np.int32, np.uint32, np.int8, np.uint8):
    one = np.dtype(kind).name
    CASES[one] = (integers, [whole(kind, 4, 5), whole(kind, 4, 5), below(40, 4, 5).astype(kind)])
    nothing = np.array([0, 1, 1, 0, 2]).astype(kind)
    CASES[f"{one} by zero"] = (lambda a, b: (lax.div(a, b), lax.rem(a, b)), [whole(kind, 5), nothing])


def on_dict(function: Callable[..., Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda given: dict(out=function(*given.values()))


@pytest.fixture(scope="module")
def node() -> str:
    program = play_parity.node_program()
    if program is None:
        pytest.skip("there is no node on this machine")
    return program


def test_the_interpreter_gives_what_jax_gives(node: str) -> None:
    wanted, work = {}, {}
    for name, (function, args) in CASES.items():
        inputs = {f"x{k}": jnp.asarray(arg) for k, arg in enumerate(args)}
        wanted[name] = stablehlo.named_leaves(jax.jit(on_dict(function))(inputs))
        data = {key: stablehlo.encoded(value) for key, value in inputs.items()}
        work[name] = dict(program=stablehlo.lower(on_dict(function), inputs), inputs=data)
    code = play_parity.script() + RUN
    done = subprocess.run([node, "-e", code], input=json.dumps(work), text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, results in wanted.items():
        assert "error" not in said["found"][name], f"{name}: {said['found'][name]}"
        for key, want in results.items():
            got = np.array([float(value) for value in said["found"][name][key]]).reshape(want.shape)
            exact = want.dtype != np.float32
            near = 0 if exact else 1e-5
            np.testing.assert_allclose(got, np.asarray(want, float), near, near, err_msg=f"{name}: {key}")
    assert set(said["operations"]) == stablehlo.OPERATIONS
    assert stablehlo.OPERATIONS - {"call"} <= used(work), "an operation that no case tries"


def used(work: dict[str, Any]) -> set[str]:
    """The operations of programs, in blocks within too."""

    def of(block: dict[str, Any]) -> set[str]:
        return {op[0] for op in block["ops"]}.union(*(of(inner) for op in block["ops"] for inner in op[5]))

    return set().union(*(of(block) for one in work.values() for block in one["program"]["functions"].values()))


def test_what_nobody_reads_is_left_out_and_the_same_is_computed_once() -> None:
    def function(given: dict[str, Any]) -> dict[str, Any]:
        a = given["a"]
        return dict(out=(a + 1) * (a + 1))

    program = stablehlo.lower(function, dict(a=jnp.zeros(3), unused=jnp.zeros(2, jnp.int8)))
    assert program["inputs"] == [["a", ["f32", 3], True], ["unused", ["i8", 2], False]]
    assert program["outputs"] == [["out", ["f32", 3]]]
    assert [op[0] for op in program["functions"]["main"]["ops"]].count("add") == 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda a: jnp.linalg.cholesky(a.reshape(2, 2)), "custom_call"),
        (lambda a: jnp.fft.fft(a), "complex<f32>"),
        (lambda a: a.astype(jnp.bfloat16) * 2, "bf16"),
    ],
)
def test_what_the_page_cannot_compute_is_refused(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        stablehlo.lower(lambda given: dict(out=abs(function(given["a"])).astype(jnp.float32)), dict(a=jnp.zeros(4)))
