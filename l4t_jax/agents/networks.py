"""Students: flax networks from memory maps to action logits and values.

Device module. Every student is called alike, time-major, recurrent or not:

    carry, logits, value = student.apply(params, carry, known, reset)

with `known` a `MemoryMap` with leading axes (T, B), `reset` `bool[T, B]` (the step starts an episode), `logits`
`float32[T, B, outputs]`, `value` `float32[T, B]`. `initial_carry(batch)` is what a recurrent student starts from; a
feed-forward student's carry is the empty tuple. `make_student` builds one by name; to add a student, write a module
with these two methods and give it a name in `STUDENTS`.

Between their input and their output the package's own students have the batch last (`Dense`), where a CPU is fastest;
a student of flax's own layers works as well.
"""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from l4t_jax.envs.cells import (
    DOOR_CLOSED,
    DOOR_LOCKED,
    DOOR_OPEN,
    EMPTY,
    FLOOR,
    GOAL,
    LAVA,
    NUM_ACTIONS,
    UNSEEN,
    WALL,
    colour_of,
    kind_of,
    one_of,
)
from l4t_jax.envs.state import MemoryMap, as_observation
from l4t_jax.envs.task import DOORS, Task, door_opened
from l4t_jax.kernels import bits

Carry = Any


def torch_linear_init(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default for linear and convolution layers, weights and biases: uniform in +-1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


@jax.custom_vjp
def affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`kernel^T x + bias` of a batch that comes last: `[in, B]`, `[in, out]`, `[out]` -> `[out, B]`.

    The gradient is written out, as every product has a form in which it runs on a CPU at full speed and others at half
    (that of the weights contracts the batch: last in both of its operands, not first; 128 x 128: 0.17 µs a row, not
    0.24). The barriers keep XLA from turning a product around to save the transpose of a few weights. Written out, it
    can be differentiated backwards only.
    """
    return _product(jax.lax.optimization_barrier(kernel.T), x, (1, 0)) + bias[:, None]


def _product(a: jax.Array, b: jax.Array, contract: tuple[int, int]) -> jax.Array:
    """The product of two matrices over an axis of each."""
    return jax.lax.dot_general(a, b, (((contract[0],), (contract[1],)), ((), ())))


def _affine_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return affine(x, kernel, bias), (x, kernel)


def _affine_backward(kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel = kept
    slope = jax.lax.optimization_barrier(slope)
    return _product(kernel, slope, (1, 0)), _product(x, slope, (1, 1)), jnp.sum(slope, axis=1)


affine.defvjp(_affine_forward, _affine_backward)


class Dense(nn.Module):
    """A linear layer on a batch that comes last: `[in, *B]` -> `[features, *B]`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", self.kernel_init, (x.shape[0], self.features))
        bias = self.param("bias", self.bias_init, (self.features,))
        flat, kernel, bias = (leaf.astype(self.dtype) for leaf in (x.reshape(x.shape[0], -1), kernel, bias))
        return affine(flat, kernel, bias).reshape(self.features, *x.shape[1:])


class TorchDense(nn.Module):
    """`Dense` with PyTorch's default initialisation."""

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = torch_linear_init(x.shape[0])
        return Dense(self.features, kernel_init=init, bias_init=init, dtype=self.dtype)(x)


class PatchConv(nn.Module):
    """A 3 x 3 convolution, stride 1, padding 1, as one matrix product on patches.

    `[C, W, H, *B]` -> `[features, W, H, *B]`.

    XLA's own convolution inside a compiled loop is many times slower on CPU; the arithmetic is the same.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, height = x.shape[1:3]
        padded = jnp.pad(x, [(0, 0), (1, 1), (1, 1)] + [(0, 0)] * (x.ndim - 3))
        patches = [padded[:, i : i + width, j : j + height] for i in range(3) for j in range(3)]
        return TorchDense(self.features, dtype=self.dtype)(jnp.concatenate(patches))


class PaperEncoder(nn.Module):
    """The paper's map encoder: the map as raw numbers, three convolutions of 16, 32 and 64 channels, ReLU."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, memory: MemoryMap) -> jax.Array:  # (*B,) -> (W * H * 64, *B)
        x = as_observation(memory)
        x = jnp.moveaxis(x, (-1, -3, -2), (0, 1, 2)).astype(self.dtype)
        for features in (16, 32, 64):
            x = nn.relu(PatchConv(features, dtype=self.dtype)(x))
        return jnp.moveaxis(x, 0, 2).reshape(-1, *x.shape[3:])


class Heads(nn.Module):
    """Separate policy and value heads, one hidden ReLU layer each, as in the paper.

    `[F, *B]` -> logits `[*B, outputs]` and values `[*B]`.
    """

    hidden: int
    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        policy = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        value = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(x))
        logits = TorchDense(self.outputs)(policy.astype(jnp.float32))
        return jnp.moveaxis(logits, 0, -1), TorchDense(1)(value.astype(jnp.float32))[0]


class Student(nn.Module):
    """What every student is; its `__call__` takes (carry, known, reset), see the head of this file.

    Attributes:
        task: it reads the map's size and the objects.
        hidden: width of its hidden layers.
        outputs: how many logits it gives.
        dtype: number type of its matrix products.
    """

    task: Task
    hidden: int
    outputs: int = NUM_ACTIONS
    dtype: Any = jnp.float32

    def initial_carry(self, batch: int) -> Carry:
        """What `batch` environments start from; nothing, unless the student is recurrent."""
        return ()

    def prepare(self, memory: MemoryMap) -> Any:
        """What the network reads of maps; `__call__` takes it in their place. An update finds it once."""
        return memory


def prepare(student: Student, memory: MemoryMap) -> Any:
    """What a student reads of maps; the maps themselves, where it does not say."""
    return student.prepare(memory) if hasattr(student, "prepare") else memory


def run(
    student: Student, params: Any, carry: Carry, memory: Any, reset: jax.Array
) -> tuple[Carry, jax.Array, jax.Array]:
    """The student on maps (or what `prepare` made of them), leading axes (T, B): its carry after, logits, values."""
    return student.apply(params, carry, memory, reset)  # pyright: ignore


class PaperCNN(Student):
    """The paper's student, feed-forward."""

    @nn.compact
    def __call__(self, carry: Carry, memory: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        return carry, *Heads(self.hidden, self.outputs, dtype=self.dtype)(PaperEncoder(dtype=self.dtype)(memory))


class PaperLSTM(Student):
    """The paper's recurrent student: after the convolutions a ReLU layer and a two-layer LSTM, 256 units each.

    The carry is zeroed where an episode starts, inside the scan over time.
    """

    layers: int = 2

    def initial_carry(self, batch: int) -> Carry:
        zeros = jnp.zeros((batch, self.hidden), jnp.float32)
        return tuple((zeros, zeros) for _ in range(self.layers))

    @nn.compact
    def __call__(self, carry: Carry, memory: MemoryMap, reset: jax.Array) -> tuple[Carry, jax.Array, jax.Array]:
        x = nn.relu(TorchDense(self.hidden, dtype=self.dtype)(PaperEncoder(dtype=self.dtype)(memory)))

        def step(student: PaperLSTM, carry: Carry, inputs: tuple[jax.Array, jax.Array]) -> tuple[Carry, jax.Array]:
            x, reset = inputs
            carry = jax.tree.map(lambda leaf: jnp.where(reset[:, None], 0.0, leaf), carry)
            new = []
            for i, state in enumerate(carry):
                state, x = nn.OptimizedLSTMCell(student.hidden, name=f"lstm_{i}")(state, x)
                new.append(state)
            return tuple(new), x

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})  # pyright: ignore
        carry, x = scan(self, carry, (jnp.moveaxis(x, 0, -1).astype(jnp.float32), reset))
        return carry, *Heads(64, self.outputs, dtype=self.dtype)(jnp.moveaxis(x, -1, 0))


def sorts_of_cell(task: Task, cells: jax.Array) -> list[jax.Array]:
    """What the default student tells apart, as planes `bool[W, H, *B]` of cells `uint8[W, H, *B]`.

    Cells never seen; those of them beside a cell the agent could walk on, the edge of the known; walls; the task's
    further kinds; and its things, told apart as its objects are but for a role's number. Where one role stands for a
    door in any state and the door may have to be walked through, doors in the way are a plane of their own.
    """
    kinds = kind_of(cells)
    unseen = kinds == UNSEEN
    passable = one_of(kinds, EMPTY, FLOOR, DOOR_OPEN, GOAL, LAVA)
    p = jnp.pad(passable, [(1, 1), (1, 1), *[(0, 0)] * (cells.ndim - 2)])
    beside = p[:-2, 1:-1] | p[2:, 1:-1] | p[1:-1, :-2] | p[1:-1, 2:]
    planes = [unseen, unseen & beside, kinds == WALL, *(kinds == kind for kind in task.further_kinds)]
    if task.success is not door_opened and any(set(DOORS) <= set(role.kinds) for role in task.objects):
        planes.append(one_of(kinds, DOOR_CLOSED, DOOR_LOCKED))
    for role_kinds, colour in dict.fromkeys((role.kinds, role.colour) for role in task.objects):
        plane = one_of(kinds, *role_kinds)
        planes.append(plane if colour is None else plane & (colour_of(cells) == colour))
    return planes


CHUNK = 128  # maps whose features are found at a time on a CPU


class EgoMLP(Student):
    """The fast default: an MLP on the map centred on the agent and turned with it.

    Its input is a window of cells near the agent, and for each sort of cell (`sorts_of_cell`) which rows and columns
    of the whole map hold one, relative to the agent. So what it learns holds wherever the agent stands and whichever
    way it faces.
    """

    window: int = 7

    def prepare(self, memory: MemoryMap) -> jax.Array:
        return ego_words(self.task, memory, self.window)

    @nn.compact
    def __call__(
        self, carry: Carry, memory: MemoryMap | jax.Array, reset: jax.Array
    ) -> tuple[Carry, jax.Array, jax.Array]:
        words = self.prepare(memory) if isinstance(memory, MemoryMap) else memory
        x = spread(self.task, bits.features_first(words)).astype(self.dtype)
        for _ in range(2):
            x = nn.relu(Dense(self.hidden, dtype=self.dtype, kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        x = x.astype(jnp.float32)
        logits = Dense(self.outputs, kernel_init=nn.initializers.orthogonal(0.01))(x)
        value = Dense(1, kernel_init=nn.initializers.orthogonal(1.0))(x)
        return carry, jnp.moveaxis(logits, 0, -1), value[0]


def ego_features(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """The input of `EgoMLP`: `bool[*B, F]`."""
    return bits.batch_first(spread(task, bits.features_first(ego_words(task, memory, window))))


def spread(task: Task, words: jax.Array) -> jax.Array:
    """The bits of `ego_words`, each a feature, the batch last: `[P, *B]` -> `bool[F, *B]`."""

    def lit(words: jax.Array, number: int) -> jax.Array:
        """The lowest bits of words `[n, *B]`, a bit of all words after the other: `[number * n, *B]`."""
        bit = jnp.arange(number, dtype=words.dtype).reshape(-1, *[1] * words.ndim)
        return (words[None] >> bit & 1 == 1).reshape(-1, *words.shape[1:])

    return jnp.concatenate([lit(words[:-1], number_of_sorts(task)), lit(words[-1:], number_of_carried(task))])


def number_of_sorts(task: Task) -> int:
    """How many planes `sorts_of_cell` gives."""
    return len(jax.eval_shape(lambda cells: sorts_of_cell(task, cells), jax.ShapeDtypeStruct((1, 1), jnp.uint8)))


def number_of_carried(task: Task) -> int:
    """How many bits the last of `ego_words` holds."""
    return 1 + sum(role.portable for role in task.objects)


def ego_words(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """What `EgoMLP` reads, packed: `uint16[..., P]` (`uint32` above 16 sorts), a place's sorts as bits of a word.

    The places are the map's rows and columns ahead of and beside the agent, then the cells near it; the last word says
    what it carries. So a rollout keeps them in a few bytes.

    Within, the batch is last and a sort of cell is a word a line of the map (`bits`): centring and turning are shifts
    (three to four times as fast as picking cells).
    """
    batch = memory.carrying.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[len(batch) :]), memory)
    words = bits.in_parts(lambda part: _ego_words(task, part, window), CHUNK, flat)
    return words.reshape(*batch, -1)


def _ego_words(task: Task, memory: MemoryMap, window: int) -> jax.Array:
    """`ego_words` with a single batch axis."""
    width, height = task.width, task.height
    span, half = max(width, height), window // 2
    line_word = bits.word_type(span)
    size = jnp.iinfo(line_word).bits
    planes = sorts_of_cell(task, bits.batch_last(memory.cells))
    word = jnp.uint16 if max(len(planes), number_of_carried(task)) <= 16 else jnp.uint32
    x, y, d = (memory.agent[..., i].astype(jnp.int32) for i in range(3))

    def bit(words: jax.Array, place: jax.Array) -> jax.Array:
        """Bits of words, 0 where `place` is none of them."""
        got = words >> (place & (size - 1)).astype(line_word) & 1
        return jnp.where((place >= 0) & (place < size), got, 0).astype(word)

    def filled(lines: jax.Array) -> jax.Array:
        """Which of `[n, B]` lines hold anything, as bits `[B]`."""
        place = jnp.arange(len(lines), dtype=line_word)[:, None]
        return jnp.sum((lines != 0).astype(line_word) << place, axis=0, dtype=line_word)

    offset = jnp.arange(-(span - 1), span)[:, None]
    near = jnp.arange(-half, window - half)[:, None]
    along_x = d % 2 == 0
    ahead = jnp.where(along_x, x, y)[None] + jnp.where(d >= 2, -1, 1)[None] * near  # the lines ahead
    aside = jnp.where(along_x, y, x)[None] + jnp.where((d == 1) | (d == 2), -1, 1)[None] * near

    def met(by_x: jax.Array, by_y: jax.Array, direction: jax.Array) -> jax.Array:
        """The map's rows or columns as met when walking in a direction from the agent: `[2 span - 1, B]`."""
        flat = direction % 2 == 0
        place = jnp.where(flat, x, y)[None] + jnp.where(direction >= 2, -1, 1)[None] * offset
        return bit(jnp.where(flat, by_x, by_y)[None], place)

    def places(plane: jax.Array) -> jax.Array:
        """A plane's places, `[P - 1, B]` of 0 and 1."""
        columns = bits.pack(plane).astype(line_word)
        rows = bits.pack(jnp.swapaxes(plane, 0, 1)).astype(line_word)
        by_x, by_y = jax.lax.optimization_barrier((filled(columns), filled(rows)))
        columns, rows = jnp.pad(columns, [(0, span - width), (0, 0)]), jnp.pad(rows, [(0, span - height), (0, 0)])
        lines = jax.lax.optimization_barrier(jnp.where(along_x[None], columns, rows))  # not anew for every place
        is_ahead = ahead[:, None] == jnp.arange(span)[None, :, None]
        chosen = jnp.sum(jnp.where(is_ahead, lines[None], 0), axis=1, dtype=line_word)  # (window, B)
        cells = bit(chosen[:, None], aside[None])  # (window, window, B)
        return jnp.concatenate([met(by_x, by_y, d), met(by_x, by_y, (d + 1) & 3), cells.reshape(-1, x.shape[0])])

    packed = functools.reduce(jnp.bitwise_or, [places(plane) << sort for sort, plane in enumerate(planes)])
    carried = [memory.carrying != 0]
    for role in task.objects:
        if role.portable:
            has = one_of(kind_of(memory.carrying), *role.kinds) & (memory.carrying != 0)
            carried.append(has if role.colour is None else has & (colour_of(memory.carrying) == role.colour))
    held = functools.reduce(jnp.bitwise_or, [has.astype(word) << i for i, has in enumerate(carried)])
    return bits.batch_first(jnp.concatenate([packed, held[None]]))


STUDENTS: dict[str, type[Student]] = {"ego": EgoMLP, "cnn": PaperCNN, "lstm": PaperLSTM}


def make_student(name: str, task: Task, hidden: int, dtype: str = "float32", outputs: int = NUM_ACTIONS) -> Student:
    """A student by name.

    Args:
        name: one of `STUDENTS`.
        task: it reads the task's map size and objects.
        hidden: width of its hidden layers.
        dtype: number type of its matrix products.
        outputs: how many logits it gives.
    """
    return STUDENTS[name](task=task, hidden=hidden, dtype=jnp.dtype(dtype), outputs=outputs)


def is_recurrent(student: Student) -> bool:
    """Whether the student carries anything from step to step."""
    return bool(jax.tree.leaves(student.initial_carry(1)))
