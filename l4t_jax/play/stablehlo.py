"""JAX functions as data that a page can run: their StableHLO, which `page/stablehlo.js` interprets.

Host module. It knows nothing of tasks and students. StableHLO is what `jax.jit` lowers every function to, and what
`jax.export` writes (specification: https://openxla.org/stablehlo/spec). A program is a dict that JSON can hold:

    inputs, outputs: [name, type] each; a type is [element type, *shape], such as ["ui8", 8, 8]
    functions: name -> block; "main" is the function itself
    block: {"args": [value, ...], "ops": [operation, ...], "results": [value, ...]}; a value is a number
    operation: [name, operands, results, types, attributes, blocks]; a block may use the values around it
"""

from __future__ import annotations

import base64
import json
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from l4t_jax.errors import ConfigError

# What `page/stablehlo.js` can do; a test holds the two together.
OPERATIONS = frozenset((
    "abs", "add", "and", "atan2", "bitcast_convert", "broadcast_in_dim", "call", "case", "cbrt", "ceil", "clamp",
    "compare", "concatenate", "constant", "convert", "convolution", "cosine", "count_leading_zeros", "divide",
    "dot_general", "dynamic_slice", "dynamic_update_slice", "exponential", "exponential_minus_one", "floor", "gather",
    "iota", "is_finite", "log", "log_plus_one", "maximum", "minimum", "multiply", "negate", "not",
    "optimization_barrier", "or", "pad", "popcnt", "power", "reduce", "reduce_window", "remainder", "reshape",
    "reverse", "round_nearest_afz", "round_nearest_even", "rsqrt", "scatter", "select", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sine", "slice", "sort", "sqrt", "subtract", "tan",
    "tanh", "transpose", "while", "xor",
))  # fmt: skip
ELEMENTS = frozenset(("i1", "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32", "ui64", "f32"))
# Hints that change no result.
IGNORED = frozenset(
    ("precision_config", "algorithm", "is_stable", "indices_are_sorted", "unique_indices", "result_accuracy")
)

Block = dict[str, Any]


def lower(function: Callable[[dict[str, Any]], dict[str, Any]], inputs: dict[str, Any]) -> dict[str, Any]:
    """A function as a program.

    Args:
        function: takes and gives a dict of pytrees of arrays; pure and jittable.
        inputs: what it takes, as arrays or shapes and dtypes. The program's inputs and outputs are their leaves, named
            by their paths, such as "state.cells".

    Raises:
        ConfigError: it does something that the interpreter cannot.
    """
    from jax.extend.mlir import passmanager
    from jax.extend.mlir.dialects import stablehlo

    stablehlo.register_stablehlo_passes()
    lowered = jax.jit(function, keep_unused=True).lower(inputs)
    module: Any = lowered.compiler_ir("stablehlo")
    with module.context:
        # CHLO operations (`top_k`, `erf`, ...) become StableHLO's.
        legalise = "builtin.module(func.func(chlo-legalize-to-stablehlo))"
        passmanager.PassManager.parse(legalise).run(module.operation)
        functions = {_text(one.attributes["sym_name"]): _Function(one).block for one in module.body.operations}
    used = _used(functions["main"])
    takes = zip(_named(inputs), functions["main"]["args"], strict=True)
    return dict(
        inputs=[[*one, value in used] for one, value in takes],
        outputs=[list(one) for one in _named(jax.eval_shape(function, inputs))],
        functions=functions,
    )


def encoded(array: Any) -> str:
    """The bytes of an array, little endian, as base64."""
    array = np.asarray(array)
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode()


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their paths, as programs name them."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _named(tree: Any) -> Iterator[tuple[str, list[Any]]]:
    """Names and types of a pytree's leaves."""
    for name, leaf in named_leaves(tree).items():
        kind = np.dtype(leaf.dtype)
        letter = {"b": "i", "i": "i", "u": "ui", "f": "f"}[kind.kind]
        yield name, [f"{letter}{1 if kind.kind == 'b' else 8 * kind.itemsize}", *leaf.shape]


class _Function:
    """One function of a module, converted: the same value is computed once, and what nobody reads is left out."""

    def __init__(self, function: Any) -> None:
        self._numbers: dict[Any, int] = {}
        self._next = 0
        self.block = self._block(function.regions[0].blocks[0], ChainMap())
        _without_unused(self.block, set())

    def _new(self, value: Any) -> int:
        self._numbers[value] = self._next
        self._next += 1
        return self._next - 1

    def _block(self, block: Any, known: ChainMap[str, list[int]]) -> Block:
        """A block.

        Args:
            block: of MLIR.
            known: operations around it and in it so far -> their results.
        """
        args = [self._new(argument) for argument in block.arguments]
        ops: list[list[Any]] = []
        for operation in block.operations:
            name = operation.operation.name.split(".")[-1]
            operands = [self._numbers[operand] for operand in operation.operands]
            if name == "return":
                return dict(args=args, ops=ops, results=operands)
            if name not in OPERATIONS:
                raise ConfigError(f"the page cannot compute {operation.operation.name}, which a program of it needs")
            types = [_type(result.type) for result in operation.results]
            attributes = {
                key: _plain(attribute)
                for key, attribute in operation.attributes.items()
                if key not in IGNORED and not key.startswith(("mhlo.", "jax."))
            }
            blocks = [self._block(region.blocks[0], known.new_child()) for region in operation.regions]
            key = json.dumps([name, operands, types, attributes]) if not blocks else ""
            if key in known and key:
                self._numbers.update(zip(operation.results, known[key], strict=True))
                continue
            results = [self._new(result) for result in operation.results]
            known[key] = results
            ops.append([name, operands, results, types, attributes, blocks])
        raise AssertionError("a block of MLIR ends with a return")


def _without_unused(block: Block, needed: set[int]) -> set[int]:
    """Takes the operations from a block that nobody reads; `needed` and what the block reads of the values around."""
    needed |= set(block["results"])
    kept: list[list[Any]] = []
    for operation in reversed(block["ops"]):
        if needed.isdisjoint(operation[2]):
            continue
        needed |= set(operation[1])
        for inner in operation[5]:
            needed |= _without_unused(inner, set())
        kept.append(operation)
    block["ops"] = kept[::-1]
    return needed


def _used(block: Block) -> set[int]:
    """The values that a block reads, in itself and in the blocks within."""
    read = set(block["results"])
    for _, operands, _, _, _, blocks in block["ops"]:
        read |= set(operands).union(*map(_used, blocks))
    return read


def _type(kind: Any) -> list[Any]:
    """A tensor's type."""
    element = str(kind.element_type)
    if element not in ELEMENTS:
        raise ConfigError(f"the page cannot compute with numbers of type {element}")
    return [element, *kind.shape]


def _text(attribute: Any) -> str:
    return str(attribute.value)


def _plain(attribute: Any) -> Any:
    """An attribute as JSON holds it."""
    from jax.extend.mlir import ir
    from jax.extend.mlir.dialects import stablehlo

    if isinstance(attribute, ir.DenseElementsAttr | ir.DenseIntElementsAttr | ir.DenseFPElementsAttr):
        return _constant(attribute)
    if isinstance(attribute, ir.DenseI64ArrayAttr | ir.DenseBoolArrayAttr):
        return list(attribute)
    if isinstance(attribute, ir.IntegerAttr | ir.BoolAttr | ir.FlatSymbolRefAttr):
        return attribute.value
    for kind, fields in _STRUCTURES.items():
        found: Any = getattr(stablehlo, kind)
        if found.isinstance(attribute):
            values = {field: getattr(found(attribute), field) for field in fields}
            return values.get("value") or {field: _listed(value) for field, value in values.items()}
    raise ConfigError(f"the page cannot read {attribute}, which a program of it needs")


# StableHLO's own attributes and what they hold.
_STRUCTURES = {
    "ComparisonDirectionAttr": ("value",),
    "ComparisonTypeAttr": ("value",),
    "DotDimensionNumbers": (
        "lhs_batching_dimensions", "rhs_batching_dimensions", "lhs_contracting_dimensions",
        "rhs_contracting_dimensions",
    ),
    "GatherDimensionNumbers": (
        "offset_dims", "collapsed_slice_dims", "operand_batching_dims", "start_indices_batching_dims",
        "start_index_map", "index_vector_dim",
    ),
    "ScatterDimensionNumbers": (
        "update_window_dims", "inserted_window_dims", "input_batching_dims", "scatter_indices_batching_dims",
        "scattered_dims_to_operand_dims", "index_vector_dim",
    ),
    "ConvDimensionNumbers": (
        "input_batch_dimension", "input_feature_dimension", "input_spatial_dimensions",
        "kernel_input_feature_dimension", "kernel_output_feature_dimension", "kernel_spatial_dimensions",
        "output_batch_dimension", "output_feature_dimension", "output_spatial_dimensions",
    ),
}  # fmt: skip


def _listed(value: Any) -> Any:
    return value if isinstance(value, int) else list(value)


def _constant(attribute: Any) -> dict[str, Any]:
    """A constant: one value for all elements, or the bytes of all."""
    array = np.array(attribute)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    return dict(shape=list(array.shape), data=encoded(array.reshape(-1)[:1] if attribute.is_splat else array))
