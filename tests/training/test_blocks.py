"""The blocks of a run: where each begins, and which passes half of it."""

import pytest

from l4t_jax.training.blocks import Blocks


def test_a_block_begins_where_the_one_before_it_ended() -> None:
    blocks = Blocks(ends=(3, 5, 10), longest=5, total=10 * 4096)
    assert [blocks.begin(index) for index in range(3)] == [0, 3, 5]


@pytest.mark.parametrize(
    ("ends", "passing"),
    [((5, 10), 0), ((3, 5, 10), 1), ((4, 6, 10), 1), ((2, 4, 10), None), ((10,), None), ((1, 2, 3, 4, 5), 2)],
)
def test_one_block_passes_half_of_the_run_unless_it_is_the_last(ends: tuple[int, ...], passing: int | None) -> None:
    blocks = Blocks(ends=ends, longest=1, total=1)
    assert [index for index in range(len(ends)) if blocks.passes_half(index)] == ([] if passing is None else [passing])
