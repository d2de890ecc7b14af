"""What a compiled program does, counted in its text: loops as often as they run, of branches the dearest.

Host module of `aot.py`; it reads the text of XLA's compiled modules (`compiled.as_text()`) and needs no jax. XLA's own
`cost_analysis()` counts the body of a loop once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator

SIZES = {"pred": 1, "token": 0, "opaque": 0}  # bytes of types whose names do not tell their bits
ARRAY = re.compile(r"(\w+)\[([\d,]*)\](\{[^{}]*\})?")
CALLED = re.compile(r"(calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
STEPS_A_TURN = re.compile(r"search_(\d+)_steps_a_turn")
KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
DIM_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")

# Instructions that name values or hand control on, and run nothing themselves.
FREE = frozenset(
    ["parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "add-dependency", "opt-barrier",
     "domain", "partition-id", "replica-id"]
)  # fmt: skip
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "ragged-all-to-all")
FLOATS = ("f", "bf")
# Instructions that move numbers and compute none.
MOVING = frozenset(
    ["copy", "transpose", "reshape", "broadcast", "slice", "dynamic-slice", "dynamic-update-slice", "concatenate",
     "pad", "reverse", "gather", "iota", "convert", "bitcast-convert", "select", "copy-start", "fusion", "custom-call"]
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Array:
    """An array's type: its element type, shape, and whether it lies in the chip's main memory."""

    kind: str
    shape: tuple[int, ...]
    in_memory: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        bits = re.search(r"\d+", self.kind)
        if self.kind in SIZES or bits is None:
            return self.size * SIZES.get(self.kind, 4)
        return -(-self.size * int(bits.group()) // 8)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]  # of its result; several where that is a tuple
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @property
    def called(self) -> dict[str, str]:
        return dict(CALLED.findall(self.attributes))

    @property
    def branches(self) -> list[str]:
        found = BRANCHES.search(self.attributes)
        if found:
            return [name.strip().lstrip("%") for name in found.group(1).split(",")]
        return [self.called[key] for key in ("true_computation", "false_computation") if key in self.called]

    @property
    def scalar(self) -> bool:
        return all(array.size <= 1 for array in self.arrays)


@dataclasses.dataclass
class Cost:
    """What runs, summed over all executed instructions.

    Attributes:
        kernels: instructions that run by themselves and give more than a single number; on a GPU each is a launch.
        small: those that give a single number, such as a loss or a loop's counter; on a GPU they are launches too, but
            not what tells whether a loop with a known number of turns goes on.
        matmul_flops: floating-point operations of matrix products and convolutions.
        flops: all floating-point operations.
        bytes: read from and written to the chip's main memory.
        cycles: what the compiler says they take (TPUs).
        copies, transposes: executed, also inside of fused kernels.
        copied_bytes: results of the copies.
        collectives: sums and exchanges between chips.
        collective_bytes: what they give to each chip.
        unknown_loops: loops whose turns depend on the data, as often as they begin.
        seconds: of each kernel `Counter.seconds`, summed.
    """

    kernels: float = 0
    small: float = 0
    matmul_flops: float = 0
    flops: float = 0
    bytes: float = 0
    cycles: float = 0
    copies: float = 0
    transposes: float = 0
    copied_bytes: float = 0
    collectives: float = 0
    collective_bytes: float = 0
    unknown_loops: float = 0
    seconds: float = 0

    def add(self, other: Cost, times: float = 1) -> None:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + times * getattr(other, field.name))


def _closing(text: str, start: int) -> int:
    """The index behind the bracket that closes the one at `start`."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "({[") - (text[at] in ")}]")
        if depth == 0:
            return at + 1
    raise ValueError(f"a bracket is not closed: {text[start : start + 80]}")


def _arrays(text: str) -> tuple[Array, ...]:
    """All arrays of a type, such as `(s32[], f32[4,128]{1,0:T(8,128)S(1)})`."""
    found = list[Array]()
    for kind, shape, layout in ARRAY.findall(text):
        dims = tuple(int(part) for part in shape.split(",") if part)
        space = re.search(r"S\((\d+)\)", layout)
        found.append(Array(kind, dims, space is None or space.group(1) in ("0", "5")))
    return tuple(found)


def _instruction(line: str) -> Instruction | None:
    """One line of a computation; None for what is none."""
    head, equals, rest = line.partition(" = ")
    if not equals:
        return None
    head = head.strip()
    root = head.startswith("ROOT ")
    name = head.removeprefix("ROOT ").lstrip("%")
    end = _closing(rest, 0) if rest.startswith("(") else rest.find(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opening = rest.find("(")
    if opening < 0:
        return None
    closing = _closing(rest, opening)
    opcode, inside = rest[:opening], rest[opening + 1 : closing - 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", inside)) if opcode != "constant" else (inside,)
    if opcode == "parameter":
        operands = (inside,)
    return Instruction(name, opcode, _arrays(kind), operands, rest[closing:], root)


def computations(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """The computations of a module's text, instructions by name, and the name of the one that it starts with."""
    found: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if current is None:
            header = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
            if header:
                current = found.setdefault(header.group(2), {})
                entry = header.group(2) if header.group(1) else entry
        elif line.startswith("}"):
            current = None
        else:
            one = _instruction(re.sub(r"/\*.*?\*/", "", line))
            if one is not None:
                current[one.name] = one
    if not entry:
        raise ValueError("the text is not a compiled module: it has no ENTRY")
    return found, entry


class Counter:
    """Counts a module's text.

    Args:
        text: of a compiled module.
        unknown_trips: turns assumed of a loop whose turns depend on the data.
        steps: assumed of a search, a loop whose name says how many one turn makes (`search_4_steps_a_turn`).
        seconds: of one kernel, from its bytes and the operations of its matrix products; by default 0.
    """

    def __init__(
        self, text: str, unknown_trips: int, steps: int,
        seconds: Callable[[float, float], float] = lambda bytes, flops: 0.0,
    ) -> None:  # fmt: skip
        self.computations, self.entry = computations(text)
        self.unknown_trips, self.steps, self.seconds = unknown_trips, steps, seconds
        self.cost = functools.cache(self._cost)
        self._fused = functools.cache(self._inside)

    def total(self) -> Cost:
        """Of the whole module, run once."""
        return self.cost(self.entry)

    def loops(self) -> Iterator[tuple[str, int | None, Cost]]:
        """All loops: their bodies' names, turns (None: they depend on the data) and the cost of one turn."""
        for computation in self.computations.values():
            for one in computation.values():
                if one.opcode == "while":
                    yield one.called["body"], self.trips(computation, one), self.cost(one.called["body"])

    def _cost(self, name: str) -> Cost:
        computation = self.computations[name]
        total = Cost()
        for one in computation.values():
            if one.opcode == "while":
                trips = self.trips(computation, one)
                turns = self.assumed(one) if trips is None else trips
                total.add(self.cost(one.called["body"]), turns)
                asked = dataclasses.replace(self.cost(one.called["condition"]))
                if trips is not None:
                    asked.small = 0
                total.add(asked, turns + 1)
                total.unknown_loops += trips is None
            elif one.opcode == "conditional":
                costs = [self.cost(branch) for branch in one.branches]
                total.add(max(costs, key=lambda cost: (cost.kernels, cost.bytes)))
            elif one.opcode in ("call", "async-start"):
                called = one.called
                total.add(self.cost(called.get("to_apply") or called["calls"]))
            else:
                self._one(computation, one, total)
        return total

    def _one(self, computation: dict[str, Instruction], one: Instruction, total: Cost) -> None:
        """Adds an instruction that runs by itself."""
        base = one.opcode.removesuffix("-start")
        if one.opcode in FREE or one.opcode.endswith(("-done", "-update")) or "AllocateBuffer" in one.attributes:
            return
        own = Cost(kernels=not one.scalar, small=one.scalar)
        found = CYCLES.search(one.attributes)
        own.cycles = int(found.group(1)) if found else 0
        if base == "fusion":
            inside = self._fused(one.called["calls"])
            own.matmul_flops, own.flops = inside.matmul_flops, inside.flops
            own.copies, own.transposes, own.copied_bytes = inside.copies, inside.transposes, inside.copied_bytes
        else:
            self._arithmetic(computation, one, own)
        own.bytes = self._bytes(computation, one)
        if base in COLLECTIVES:
            own.collectives = 1
            own.collective_bytes = sum(array.bytes for array in one.arrays) / (2 if base != one.opcode else 1)
        if own.kernels:
            own.seconds = self.seconds(own.bytes, own.matmul_flops)
        total.add(own)

    def _inside(self, name: str) -> Cost:
        """The arithmetic, copies and transposes inside of a fused computation."""
        computation = self.computations[name]
        total = Cost()
        for one in computation.values():
            if one.opcode == "fusion":
                total.add(self._inside(one.called["calls"]))
            elif one.opcode not in FREE:
                own = Cost()
                self._arithmetic(computation, one, own)
                total.add(own)
        return total

    def _arithmetic(self, computation: dict[str, Instruction], one: Instruction, own: Cost) -> None:
        """Sets floating-point operations, copies and transposes of a single instruction."""
        base = one.opcode.removesuffix("-start")
        if not one.scalar:
            own.copies, own.transposes = float(base == "copy"), float(base == "transpose")
            own.copied_bytes = one.arrays[0].bytes if base == "copy" else 0.0
        product = self._product(computation, one)
        if product:
            own.matmul_flops = own.flops = product
        elif one.arrays and one.arrays[0].kind.startswith(FLOATS) and one.opcode not in MOVING:
            operand = self._operand(computation, one, 0) if one.opcode in ("reduce", "reduce-window") else None
            own.flops = (operand or one.arrays[0]).size

    def _operand(self, computation: dict[str, Instruction], one: Instruction, number: int) -> Array | None:
        if number >= len(one.operands) or one.operands[number] not in computation:
            return None
        arrays = computation[one.operands[number]].arrays
        return arrays[0] if arrays else None

    def _product(self, computation: dict[str, Instruction], one: Instruction) -> float:
        """Floating-point operations of a matrix product or a convolution; 0 of anything else."""
        left, right = (self._operand(computation, one, number) for number in (0, 1))
        if left is None or right is None or not one.arrays:
            return 0.0
        result = one.arrays[0]
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)
        if contracted is None:
            contracted = re.search(r'"lhs_contracting_dimensions":\[([\d",]*)\]', one.attributes)
        if one.opcode == "dot" or (one.opcode == "custom-call" and contracted and "gemm" in one.attributes):
            axes = [int(axis) for axis in re.findall(r"\d+", contracted.group(1))] if contracted else []
            return 2.0 * result.size * math.prod(left.shape[axis] for axis in axes)
        labels = DIM_LABELS.search(one.attributes)
        if labels is None or (one.opcode != "convolution" and "$conv" not in one.attributes):
            return 0.0
        outputs, weights = result, right
        if "BackwardInput" in one.attributes:
            outputs = left
        elif "BackwardFilter" in one.attributes:
            outputs, weights = right, result
        features = weights.shape[labels.group(2).index("o")]
        return 2.0 * outputs.size * weights.size / max(features, 1)

    def _bytes(self, computation: dict[str, Instruction], one: Instruction) -> float:
        """Bytes of main memory that an instruction reads and writes: of what it slices, the slice alone."""
        if one.opcode.endswith("-start") and one.opcode != "fusion-start":  # (operands, results, ...)
            return float(sum(array.bytes for array in one.arrays if array.in_memory))
        fused = self.computations.get(one.called.get("calls", "")) if "fusion" in one.opcode else None
        read = 0.0
        for number, name in enumerate(one.operands):
            if name not in computation:
                continue
            arrays = [array for array in computation[name].arrays if array.in_memory]
            whole = float(sum(array.bytes for array in arrays))
            if not whole:
                continue
            if fused is not None:
                part = self._read_inside(fused, number)
            else:
                part = _touched(one, number, computation)
            read += whole if part is None else min(part, whole)
        return read + self._written(computation, one, fused)

    def _read_inside(self, fused: dict[str, Instruction], number: int) -> float | None:
        """Bytes that a fused computation reads of a parameter, where all its readers slice it; else None."""
        names = [one.name for one in fused.values() if one.opcode == "parameter" and one.operands == (str(number),)]
        if not names:
            return None
        total, waiting = 0.0, names
        while waiting:
            name = waiting.pop()
            for reader in fused.values():
                if reader.opcode in ("parameter", "constant") or name not in reader.operands:
                    continue
                if reader.opcode == "bitcast":
                    waiting.append(reader.name)
                    continue
                part = _touched(reader, reader.operands.index(name), fused)
                if part is None:
                    return None
                total += part
        return total

    def _written(
        self, computation: dict[str, Instruction], one: Instruction, fused: dict[str, Instruction] | None
    ) -> float:
        """Bytes of main memory that an instruction writes: of an update in place, the update alone."""
        arrays = one.arrays[1:2] if one.opcode == "fusion-start" else one.arrays
        whole = float(sum(array.bytes for array in arrays if array.in_memory))
        scope = computation if fused is None else fused
        root = one if fused is None else next(inside for inside in fused.values() if inside.root)
        parts = [root] if root.opcode != "tuple" else [fused[name] for name in root.operands if fused and name in fused]
        saved = 0.0
        for part in parts:
            while part.opcode == "bitcast" and part.operands[0] in scope:
                part = scope[part.operands[0]]
            update = self._operand(scope, part, 1) if part.opcode == "dynamic-update-slice" else None
            if update is not None and whole:
                saved += part.arrays[0].bytes - update.bytes
        return max(whole - saved, 0.0)

    def trips(self, computation: dict[str, Instruction], loop: Instruction) -> int | None:
        """How often a loop turns: as its text says, or from its counter's start and end; None if data decide."""
        known = KNOWN_TRIPS.search(loop.attributes)
        if known:
            return int(known.group(1))
        condition = self.computations[loop.called["condition"]]
        end = self._compared(condition, next(one for one in condition.values() if one.root), {})
        if end is None:
            return None
        index, limit = end

        def start_of(index: int) -> int | None:
            first = computation.get(loop.operands[0])
            while first is not None and first.opcode in ("copy", "bitcast"):
                first = computation.get(first.operands[0])
            if first is None or first.opcode != "tuple":
                return None
            return _constant(computation, first.operands[index])

        start = start_of(index)
        stop = start_of(-limit - 1) if limit < 0 else limit
        return None if start is None or stop is None else max(stop - start, 0)

    def assumed(self, loop: Instruction) -> int:
        """The turns assumed of a loop whose turns depend on the data."""
        search = STEPS_A_TURN.search(loop.attributes)
        return self.unknown_trips if search is None else -(-self.steps // int(search.group(1)))

    def _compared(
        self, scope: dict[str, Instruction], root: Instruction, given: dict[str, tuple[str, int]]
    ) -> tuple[int, int] | None:
        """Of a condition `counter < limit`: the counter's place in the loop's state, and the limit.

        A limit that is in the loop's state too is given as `-1 - place`. `given` says what the parameters of a fused
        condition are.
        """
        if root.opcode == "fusion":
            inside = self.computations[root.called["calls"]]
            outer = {str(number): _place(scope, name, given) for number, name in enumerate(root.operands)}
            known = {
                one.name: outer[one.operands[0]]
                for one in inside.values()
                if one.opcode == "parameter" and outer.get(one.operands[0]) is not None
            }
            return self._compared(inside, next(one for one in inside.values() if one.root), known)  # pyright: ignore
        if root.opcode != "compare" or "direction=LT" not in root.attributes:
            return None
        counter, limit = (_place(scope, name, given) for name in root.operands)
        if counter is None or limit is None or counter[0] != "state":
            return None
        return counter[1], limit[1] if limit[0] == "number" else -1 - limit[1]


def _touched(reader: Instruction, place: int, scope: dict[str, Instruction]) -> float | None:
    """Bytes that an instruction reads of the operand at `place`, where it reads a part of it; else None."""
    if place == 0 and reader.opcode in ("dynamic-slice", "gather", "slice"):
        return float(sum(array.bytes for array in reader.arrays))
    if place == 0 and reader.opcode == "dynamic-update-slice":
        return 0.0  # it stays where it is
    return None


def _place(scope: dict[str, Instruction], name: str, given: dict[str, tuple[str, int]]) -> tuple[str, int] | None:
    """What a value of a condition is: ("number", value), or ("state", its place in the loop's state)."""
    if name in given:
        return given[name]
    one = scope.get(name)
    if one is None:
        return None
    if one.opcode in ("copy", "bitcast"):
        return _place(scope, one.operands[0], given)
    if one.opcode == "get-tuple-element":
        index = re.search(r"index=(\d+)", one.attributes)
        return None if index is None else ("state", int(index.group(1)))
    value = _constant(scope, name)
    return None if value is None else ("number", value)


def _constant(scope: dict[str, Instruction], name: str) -> int | None:
    one = scope.get(name)
    while one is not None and one.opcode in ("copy", "bitcast"):
        one = scope.get(one.operands[0])
    if one is None or one.opcode != "constant" or not re.fullmatch(r"-?\d+", one.operands[0]):
        return None
    return int(one.operands[0])
