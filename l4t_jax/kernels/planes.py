"""A linear layer on features that are the bits of words, one product a bit: for TPUs.

Device module. The plain reference unpacks all bits first (`agents.students.features.spread`) and multiplies once. A TPU
pads and copies where it puts bits behind each other; here each product unpacks its bits as it reads them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Group(NamedTuple):
    """Words next to each other, of which as many bits are features.

    Attributes:
        words: how many.
        bits: the lowest bits of each are features, a bit of all words after the other.
    """

    words: int
    bits: int


class Planes(NamedTuple):
    """Features as words, for `affine`.

    Attributes:
        words: `[n, B]`, unsigned.
        groups: what they are.
    """

    words: jax.Array
    groups: tuple[Group, ...]

    @property
    def features(self) -> int:
        return sum(group.words * group.bits for group in self.groups)


def affine(planes: Planes, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """`kernel^T x + bias` for the unpacked features x: `[features, out]`, `[out]` -> `[out, B]`."""
    return _affine(planes.groups, planes.words, kernel, bias)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(groups: tuple[Group, ...], words: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    many, row = _split(groups)
    weights, lit = _weights(many, kernel), _lit(many, words, kernel.dtype)
    total = jax.lax.dot_general(weights, lit, (((0, 1), (0, 1)), ((), ())))
    return total + _product(kernel[row:], _single(groups, words, kernel.dtype), 0) + bias[:, None]


def _forward(
    groups: tuple[Group, ...], words: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _affine(groups, words, kernel, bias), (words, kernel)


def _backward(
    groups: tuple[Group, ...], kept: tuple[jax.Array, jax.Array], slope: jax.Array
) -> tuple[None, jax.Array, jax.Array]:
    words, kernel = kept
    many, _ = _split(groups)
    gradient = jax.lax.dot_general(_lit(many, words, kernel.dtype), slope, (((2,), (1,)), ((), ())))
    parts, at = list[jax.Array](), 0
    for group in many:
        parts.append(gradient[: group.bits, at : at + group.words].reshape(-1, gradient.shape[2]))
        at += group.words
    parts.append(_product(_single(groups, words, kernel.dtype), slope, 1))
    return None, jnp.concatenate(parts), jnp.sum(slope, axis=1)


_affine.defvjp(_forward, _backward)


def _split(groups: tuple[Group, ...]) -> tuple[tuple[Group, ...], int]:
    """The groups of several words, which come first, and the row of weights behind theirs."""
    many = tuple(group for group in groups if group.words > 1)
    assert groups[: len(many)] == many, "groups of one word must come last"
    return many, sum(group.words * group.bits for group in many)


def _single(groups: tuple[Group, ...], words: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The bits of the groups of one word, unpacked: `[features, B]`."""
    many, _ = _split(groups)
    at = sum(group.words for group in many)
    rows = [words[at + i] >> bit for i, group in enumerate(groups[len(many) :]) for bit in range(group.bits)]
    return (jnp.stack(rows) & 1).astype(dtype)


def _weights(groups: tuple[Group, ...], kernel: jax.Array) -> jax.Array:
    """The weights of the groups of several words, `[bits, words, out]`; 0 for bits that are no feature."""
    bits, row = max(group.bits for group in groups), 0
    parts = list[jax.Array]()
    for group in groups:
        rows = group.bits * group.words
        part = kernel[row : row + rows].reshape(group.bits, group.words, -1)
        parts.append(jnp.pad(part, [(0, bits - group.bits), (0, 0), (0, 0)]))
        row += rows
    return jnp.concatenate(parts, axis=1)


def _lit(groups: tuple[Group, ...], words: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The bits of the groups of several words as numbers, `[bits, words, B]`."""
    bits, number = max(group.bits for group in groups), sum(group.words for group in groups)
    bit = jnp.arange(bits, dtype=words.dtype)[:, None, None]
    return (words[None, :number] >> bit & 1).astype(dtype)


def _product(a: jax.Array, b: jax.Array, axis: int) -> jax.Array:
    """The product of two matrices, contracted over the same axis of both."""
    return jax.lax.dot_general(a, b, (((axis,), (axis,)), ((), ())))
