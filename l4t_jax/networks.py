"""Students: flax networks from known maps to action logits and values.

Device module. Every student is called alike, time-major, recurrent or not:

    carry, logits, value = student.apply(params, carry, known, reset)

with `known` a `KnownMap` with leading axes (T, B), `reset` `bool[T, B]` (the step starts an episode), `logits`
`float32[T, B, 7]`, `value` `float32[T, B]`. `initial_carry(batch)` is what a recurrent student starts from; a
feed-forward student's carry is the empty tuple. `make_student` builds one by name; to add a student, write a module
with these two methods and give it a name in `STUDENTS`.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.tasks.task import Task
from l4t_jax.types import (
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    FLOOR,
    GOAL,
    KEY,
    LAVA,
    NUM_ACTIONS,
    UNSEEN,
    WALL,
    KnownMap,
    as_observation,
    colour_of,
    kind_of,
    one_of,
)  # fmt: skip

Carry = Any
DIRECTION_STEPS = jnp.asarray([[1, 0], [0, 1], [-1, 0], [0, -1]])


def torch_linear_init(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for linear and convolution layers, weights and biases: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class TorchDense(nn.Module):
    """A linear layer with PyTorch's default initialisation."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = torch_linear_init(x.shape[-1])
        return nn.Dense(self.features, kernel_init=init, bias_init=init, dtype=self.dtype)(x)


class PatchConv(nn.Module):
    """A 3 x 3 convolution, stride 1, padding 1, as one matrix product on patches.

    XLA's own convolution inside a compiled loop is many times slower on CPU; the arithmetic is the same.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # (..., W, H, C) -> (..., W, H, features)
        width, height = x.shape[-3:-1]
        padded = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(1, 1), (1, 1), (0, 0)])
        patches = [padded[..., i : i + width, j : j + height, :] for i in range(3) for j in range(3)]
        return TorchDense(self.features, dtype=self.dtype)(jnp.concatenate(patches, axis=-1))


class PaperEncoder(nn.Module):
    """The paper's map encoder: the map as raw numbers, three convolutions of 16, 32 and 64 channels, ReLU."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, known: KnownMap) -> jax.Array:  # (...,) -> (..., W * H * 64)
        x = as_observation(known).astype(self.dtype)
        for features in (16, 32, 64):
            x = nn.relu(PatchConv(features, dtype=self.dtype)(x))
        return x.reshape(*x.shape[:-3], -1)


class Heads(nn.Module):
    """Separate policy and value heads, one hidden ReLU layer each, as in the paper."""

    hidden: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        policy = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        value = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        logits = TorchDense(NUM_ACTIONS)(policy.astype(jnp.float32))
        return logits, TorchDense(1)(value.astype(jnp.float32))[..., 0]


class PaperCNN(nn.Module):
    """The paper's student, feed-forward."""

    task: Task
    hidden: int = 64
    dtype: Any = jnp.float32

    def initial_carry(self, batch: int) -> Carry:
        return ()

    @nn.compact
    def __call__(self, carry: Carry, known: KnownMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        return carry, *Heads(self.hidden, dtype=self.dtype)(PaperEncoder(dtype=self.dtype)(known))


class PaperLSTM(nn.Module):
    """The paper's recurrent student: after the convolutions a ReLU layer and a two-layer LSTM, 256 units each.

    The carry is zeroed where an episode starts, inside the scan over time.
    """

    task: Task
    hidden: int = 256
    dtype: Any = jnp.float32
    layers: int = 2

    def initial_carry(self, batch: int) -> Carry:
        zeros = jnp.zeros((batch, self.hidden), jnp.float32)
        return tuple((zeros, zeros) for _ in range(self.layers))

    @nn.compact
    def __call__(self, carry: Carry, known: KnownMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        x = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(PaperEncoder(dtype=self.dtype)(known)))
        cells = [nn.OptimizedLSTMCell(self.hidden, name=f"lstm_{i}") for i in range(self.layers)]

        def step(
            cells: list[nn.OptimizedLSTMCell], carry: Carry, inputs: tuple[jax.Array, jax.Array]
        ) -> tuple[Carry, jax.Array]:
            x, reset = inputs
            carry = jax.tree.map(lambda leaf: jnp.where(reset[:, None], 0.0, leaf), carry)
            new = []
            for cell, state in zip(cells, carry, strict=True):
                state, x = cell(state, x)
                new.append(state)
            return tuple(new), x

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})  # pyright: ignore
        carry, x = scan(cells, carry, (x.astype(jnp.float32), reset))
        return carry, *Heads(64, dtype=self.dtype)(x)


def noun_planes(task: Task, cells: jax.Array) -> list[jax.Array]:
    """One boolean plane for each sort of thing the task can name, in any of its states: `bool[..., W, H]` each."""
    sorts = dict.fromkeys((noun.kinds, noun.colour) for noun in task.nouns)
    planes = []
    for kinds, colour in sorts:
        plane = one_of(kind_of(cells), *kinds)
        planes.append(plane if colour is None else plane & (colour_of(cells) == colour))
    return planes


def turn(x: jax.Array, direction: jax.Array) -> jax.Array:
    """Turns square maps so that the agent faces along the first axis.

    Args:
        x: `[..., S, S, C]` maps centred on the agent, x first.
        direction: `int[...]` of the agent.

    Returns:
        The same shape, indexed [forward, to the right].
    """
    d = direction[..., None, None, None]
    swapped = jnp.swapaxes(x, -3, -2)
    return jnp.select(
        [d == 0, d == 1, d == 2],
        [x, jnp.flip(swapped, -2), jnp.flip(x, (-3, -2))],
        jnp.flip(swapped, -3),
    )


class EgoMLP(nn.Module):
    """The fast default: an MLP on the map centred on the agent and turned with it.

    Its input is a window of cells near the agent, and for each sort of cell (unseen, edge of the known, wall, lava,
    goal, and the things the task can name) which rows and columns of the whole map hold one, relative to the agent. So what
    it learns holds wherever the agent stands and whichever way it faces.
    """

    task: Task
    hidden: int = 128
    dtype: Any = jnp.float32
    window: int = 7

    def initial_carry(self, batch: int) -> Carry:
        return ()

    @nn.compact
    def __call__(self, carry: Carry, known: KnownMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        x = ego_features(self.task, known, self.window).astype(self.dtype)
        for _ in range(2):
            x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        x = x.astype(jnp.float32)
        logits = nn.Dense(NUM_ACTIONS, kernel_init=nn.initializers.orthogonal(0.01))(x)
        value = nn.Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(x)
        return carry, logits, value[..., 0]


def ego_features(task: Task, known: KnownMap, window: int) -> jax.Array:
    """The input of `EgoMLP`: `bool[..., F]`."""
    cells = known.cells
    width, height = task.width, task.height
    kinds = kind_of(cells)
    unseen = kinds == UNSEEN
    passable = one_of(kinds, EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)
    pad = [(0, 0)] * (cells.ndim - 2)
    p = jnp.pad(passable, [*pad, (1, 1), (1, 1)])
    beside = p[..., :-2, 1:-1] | p[..., 2:, 1:-1] | p[..., 1:-1, :-2] | p[..., 1:-1, 2:]
    edge = unseen & beside
    planes = [
        unseen,
        edge,
        kinds == WALL,
        kinds == LAVA,
        kinds == GOAL,
        one_of(kinds, DOOR_CLOSED, DOOR_LOCKED),
    ]
    planes += noun_planes(task, cells)
    stack = jnp.stack(planes, axis=-1)  # (..., W, H, C)

    x, y, d = (known.agent[..., i].astype(jnp.int32) for i in range(3))
    # Rows and columns of the whole map that hold one, as seen from the agent.
    span = max(width, height)
    offsets = jnp.arange(-(span - 1), span)
    by_x, by_y = jnp.any(stack, axis=-2), jnp.any(stack, axis=-3)  # (..., W, C), (..., H, C)

    def relative(line: jax.Array, at: jax.Array) -> jax.Array:  # (..., n, C) -> (..., 2 span - 1, C)
        index = at[..., None] + offsets
        inside = (index >= 0) & (index < line.shape[-2])
        got = jnp.take_along_axis(line, jnp.clip(index, 0, line.shape[-2] - 1)[..., None], axis=-2)
        return got & inside[..., None]

    rel_x, rel_y = relative(by_x, x), relative(by_y, y)
    dd = d[..., None, None]
    ahead = jnp.select([dd == 0, dd == 1, dd == 2], [rel_x, rel_y, rel_x[..., ::-1, :]], rel_y[..., ::-1, :])
    aside = jnp.select([dd == 0, dd == 1, dd == 2], [rel_y, rel_x[..., ::-1, :], rel_y[..., ::-1, :]], rel_x)

    # The cells near the agent.
    half = window // 2
    near = jnp.pad(stack | False, [*pad, (half, half), (half, half), (0, 0)])
    near = _crop(near, x, y, window)
    near = turn(near, d)
    flat = [part.reshape(*part.shape[: cells.ndim - 2], -1) for part in (ahead, aside, near)]
    cargo = [known.carrying != 0]
    for noun in task.nouns:
        if noun.kinds == (KEY,):
            has = kind_of(known.carrying) == KEY
            cargo.append(has if noun.colour is None else has & (colour_of(known.carrying) == noun.colour))
    return jnp.concatenate([*flat, jnp.stack(cargo, axis=-1)], axis=-1)


def _crop(maps: jax.Array, x: jax.Array, y: jax.Array, size: int) -> jax.Array:
    """`[..., W, H, C]` -> `[..., size, size, C]` from (x, y) on, by two gathers along one axis each."""
    index = jnp.arange(size)
    maps = jnp.take_along_axis(maps, (x[..., None] + index)[..., None, None], axis=-3)
    return jnp.take_along_axis(maps, (y[..., None] + index)[..., None, :, None], axis=-2)


STUDENTS = {"ego": EgoMLP, "cnn": PaperCNN, "lstm": PaperLSTM}


def make_student(name: str, task: Task, hidden: int, dtype: str = "float32") -> nn.Module:
    """A student by name.

    Args:
        name: one of `STUDENTS`.
        task: it reads the task's map size and nouns.
        hidden: width of its hidden layers.
        dtype: number type of its matrix products.
    """
    return STUDENTS[name](task=task, hidden=hidden, dtype=jnp.dtype(dtype))


def is_recurrent(student: nn.Module) -> bool:
    """Whether the student carries anything from step to step."""
    return bool(jax.tree.leaves(student.initial_carry(1)))  # pyright: ignore
