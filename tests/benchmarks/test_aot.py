"""`benchmarks/aot.py`: compiled text made by hand and counted by hand, and the smallest program as it is compiled."""

import dataclasses
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aot
import aot_table
import hlo
import pytest
from targets import GPUS, H100, V5E, Target

LAYOUT = "{1,0:T(8,128)}"
# Ten turns, by the counter's start and end alone as on a TPU, of a fused product of 8 x 16 and 16 x 4 numbers; within
# each, two turns (as GPUs' texts say) of a copy of 8 x 4 numbers; then the dearer of two branches.
MODULE = f"""HloModule made_by_hand, is_scheduled=true

%inner (p.0: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {{
  %p.0 = (s32[], f32[8,4]{LAYOUT}) parameter(0)
  %count.0 = s32[] get-tuple-element(%p.0), index=0
  %x.0 = f32[8,4]{LAYOUT} get-tuple-element(%p.0), index=1
  %copy.0 = f32[8,4]{LAYOUT} copy(%x.0), backend_config={{"window_config":{{"estimated_cycles":"100"}}}}
  ROOT %out.0 = (s32[], f32[8,4]{LAYOUT}) tuple(%count.0, %copy.0)
}}

%never (p.1: (s32[], f32[8,4])) -> pred[] {{
  %p.1 = (s32[], f32[8,4]{LAYOUT}) parameter(0)
  ROOT %no = pred[] constant(false)
}}

%product (a.0: f32[8,16], b.0: f32[16,4]) -> f32[8,4] {{
  %a.0 = f32[8,16]{LAYOUT} parameter(0)
  %b.0 = f32[16,4]{LAYOUT} parameter(1)
  %dot.0 = f32[8,4]{LAYOUT} dot(%a.0, %b.0), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
  ROOT %tanh.0 = f32[8,4]{LAYOUT} tanh(%dot.0)
}}

%outer (p.2: (s32[], f32[8,16], f32[16,4], f32[8,4])) -> (s32[], f32[8,16], f32[16,4], f32[8,4]) {{
  %p.2 = (s32[], f32[8,16]{LAYOUT}, f32[16,4]{LAYOUT}, f32[8,4]{LAYOUT}) parameter(0)
  %count.2 = s32[] get-tuple-element(%p.2), index=0
  %one = s32[] constant(1)
  %next = s32[] add(%count.2, %one)
  %a.2 = f32[8,16]{LAYOUT} get-tuple-element(%p.2), index=1
  %b.2 = f32[16,4]{LAYOUT} get-tuple-element(%p.2), index=2
  %fusion.2 = f32[8,4]{LAYOUT} fusion(%a.2, %b.2), kind=kOutput, calls=%product
  %start.2 = (s32[], f32[8,4]{LAYOUT}) tuple(%count.2, %fusion.2)
  %again = (s32[], f32[8,4]{LAYOUT}) while(%start.2), condition=%never, body=%inner, backend_config={{"known_trip_count":{{"n":"2"}}}}
  %y.2 = f32[8,4]{LAYOUT} get-tuple-element(%again), index=1
  ROOT %out.2 = (s32[], f32[8,16]{LAYOUT}, f32[16,4]{LAYOUT}, f32[8,4]{LAYOUT}) tuple(%next, %a.2, %b.2, %y.2)
}}

%until (p.3: (s32[], f32[8,16], f32[16,4], f32[8,4])) -> pred[] {{
  %p.3 = (s32[], f32[8,16]{LAYOUT}, f32[16,4]{LAYOUT}, f32[8,4]{LAYOUT}) parameter(0)
  %count.3 = s32[] get-tuple-element(%p.3), index=0
  %end = s32[] constant(13)
  ROOT %less = pred[] compare(%count.3, %end), direction=LT
}}

%cheap (p.4: f32[8,4]) -> f32[8,4] {{
  ROOT %p.4 = f32[8,4]{LAYOUT} parameter(0)
}}

%dear (p.5: f32[8,4]) -> f32[8,4] {{
  %p.5 = f32[8,4]{LAYOUT} parameter(0)
  %turned = f32[4,8]{LAYOUT} transpose(%p.5), dimensions={{1,0}}
  ROOT %summed = f32[8,4]{LAYOUT} all-reduce(%turned), replica_groups={{{{0,1}}}}, to_apply=%cheap
}}

ENTRY %main (a: f32[8,16], b: f32[16,4], which: pred[]) -> f32[8,4] {{
  %a = f32[8,16]{LAYOUT} parameter(0)
  %b = f32[16,4]{LAYOUT} parameter(1)
  %which = pred[] parameter(2)
  %three = s32[] constant(3)
  %begin = s32[] copy(%three)
  %fast = f32[8,4]{{1,0:T(8,128)S(1)}} custom-call(), custom_call_target="AllocateBuffer"
  %first = (s32[], f32[8,16]{LAYOUT}, f32[16,4]{LAYOUT}, f32[8,4]{{1,0:T(8,128)S(1)}}) tuple(%begin, %a, %b, %fast)
  %loop = (s32[], f32[8,16]{LAYOUT}, f32[16,4]{LAYOUT}, f32[8,4]{LAYOUT}) while(%first), condition=%until, body=%outer
  %y = f32[8,4]{LAYOUT} get-tuple-element(%loop), index=3
  ROOT %either = f32[8,4]{LAYOUT} conditional(%which, %y, %y), branch_computations={{%cheap, %dear}}
}}
"""  # noqa: E501


def count(text: str, **given: Any) -> hlo.Cost:
    return hlo.Counter(text, unknown_trips=8, steps=16, **given).total()


def test_loops_are_counted_as_often_as_they_turn() -> None:
    cost = count(MODULE)
    assert cost.matmul_flops == 10 * 2 * 8 * 16 * 4
    assert cost.flops == 10 * (2 * 8 * 16 * 4 + 8 * 4) + 8 * 4  # tanh too, and the sum over chips
    assert cost.copies == 10 * 2
    assert cost.copied_bytes == 10 * 2 * 8 * 4 * 4
    assert cost.cycles == 10 * 2 * 100
    assert cost.kernels == 10 * (1 + 2) + 2
    assert cost.small == 10 + 1  # the counter's sums and copy; that it goes on is known
    assert cost.unknown_loops == 0


def test_of_two_branches_the_dearer_is_counted() -> None:
    cost = count(MODULE)
    assert (cost.transposes, cost.collectives, cost.collective_bytes) == (1, 1, 8 * 4 * 4)


def test_bytes_are_those_of_main_memory() -> None:
    product, copy, branch = (8 * 16 + 16 * 4 + 8 * 4) * 4, 2 * 8 * 4 * 4, 2 * 2 * 8 * 4 * 4
    scalars = 10 * (4 + 4 + 4) + 10 * 0 + 11 * (4 + 4 + 1) + (4 + 4)  # the counter's sums, comparisons and copy
    assert count(MODULE).bytes == 10 * (product + 2 * copy) + branch + scalars
    fast = MODULE.replace(f"%copy.0 = f32[8,4]{LAYOUT}", "%copy.0 = f32[8,4]{1,0:T(8,128)S(1)}")
    assert count(MODULE).bytes - count(fast).bytes == 10 * 2 * 8 * 4 * 4


def test_a_loop_whose_turns_depend_on_the_data_is_assumed() -> None:
    unknown = MODULE.replace('backend_config={"known_trip_count":{"n":"2"}}', 'metadata={op_name="jit(f)/while"}')
    assert count(unknown).copies == 10 * 8
    assert count(unknown).unknown_loops == 10
    search = unknown.replace("jit(f)/while", "jit(f)/search_3_steps_a_turn/while")
    assert count(search).copies == 10 * 6  # 16 steps, three a turn


def test_what_is_updated_in_place_counts_as_the_update() -> None:
    text = """HloModule m
%fused (p: f32[32,64], q: f32[64], i: s32[]) -> f32[32,64] {
  %p = f32[32,64]{1,0} parameter(0)
  %q = f32[64]{0} parameter(1)
  %i = s32[] parameter(2)
  %row = f32[1,64]{1,0} bitcast(%q)
  %zero = s32[] constant(0)
  ROOT %update = f32[32,64]{1,0} dynamic-update-slice(%p, %row, %i, %zero)
}
ENTRY %main (p: f32[32,64], q: f32[64], i: s32[]) -> f32[32,64] {
  %p = f32[32,64]{1,0} parameter(0)
  %q = f32[64]{0} parameter(1)
  %i = s32[] parameter(2)
  ROOT %fusion = f32[32,64]{1,0} fusion(%p, %q, %i), kind=kLoop, calls=%fused
}
"""
    assert count(text).bytes == 64 * 4 + 4 + 64 * 4  # the row, where it goes, and what is written


def test_a_kernel_takes_at_least_its_launch() -> None:
    cost = aot.counted(MODULE, Target.of(None, "h100"), updates=1)
    assert cost.seconds == pytest.approx(32 * 4e-6)
    parts = aot.seconds_of(cost, Target.of(None, "h100"), chips=1)
    assert max(parts, key=parts.__getitem__) == "kernels"
    assert aot.counted(MODULE, Target.of(None, "h100"), updates=4).kernels == 8


def test_a_convolution_is_counted_by_its_weights() -> None:
    text = """HloModule m
ENTRY %main (x: f32[5,9,9,3], w: f32[3,3,3,7]) -> f32[5,9,9,7] {
  %x = f32[5,9,9,3]{3,2,1,0} parameter(0)
  %w = f32[3,3,3,7]{3,2,1,0} parameter(1)
  ROOT %y = f32[5,9,9,7]{3,2,1,0} convolution(%x, %w), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}
"""
    assert count(text).matmul_flops == 2 * (5 * 9 * 9 * 7) * (3 * 3 * 3)


def test_chips_that_are_not_known_are_refused() -> None:
    with pytest.raises(ValueError, match="v5e or v6e"):
        Target.of("v9:2x2", None)
    with pytest.raises(ValueError, match="h100"):
        Target.of(None, "a1")
    assert Target.of(None, None).chip is V5E
    assert GPUS["h100"] is H100


def made_up(program: aot.Program, steps_per_s: float) -> dict[str, Any]:
    """A result of `aot.measured`, without compiling."""
    return dict(
        **dataclasses.asdict(program), name=program.name, platform="tpu", topology="v5e:2x2", chip="TPU v5e",
        compile_s=12.0, compile_cpu_s=3.0, code_bytes=5e6, temp_bytes=7e6, fits=True,
        cost=dataclasses.asdict(count(MODULE)),
        estimate=dict(seconds=dict(cycles=1.0), bound="cycles", steps_per_s=steps_per_s),
    )  # fmt: skip


def test_the_table_says_that_its_speeds_are_estimates(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.json").write_text(json.dumps(made_up(aot.PROGRAMS[0], 2.5e6)))
    text = aot_table.table(tmp_path, updates=8, turns=8, steps=16)
    assert "Nothing ran on a TPU or GPU: the speeds are estimates" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| SimpleDoorKey")]
    assert "| 12 (3) | 5 | 7 |" in row and "2.5 (cycles)" in row
    assert "16 steps" in text and "4 µs" in text


def test_the_table_names_what_has_not_been_compiled(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    first, *others = (one.name for one in aot.PROGRAMS[:3])
    (tmp_path / "parts" / "one.json").write_text(json.dumps(made_up(aot.PROGRAMS[0], 1.0)))
    text = aot_table.table(tmp_path, updates=8, turns=8, steps=16, names=[first, *others])
    assert f"Not compiled: {', '.join(others)}." in text
    assert "Not compiled" not in aot_table.table(tmp_path, updates=8, turns=8, steps=16, names=[first])


def test_sums_over_chips_by_hand() -> None:
    # Four chips of a torus: 4 (2 - 1) messages of 1 µs a sum; 2 * 3 / 4 of 200 MB at 200 GB/s is 1.5 ms.
    assert V5E.exchange_s(4, sums=2, size=200e6) == pytest.approx(2 * 4e-6 + 1.5e-3)
    assert V5E.exchange_s(1, sums=2, size=200e6) == 0
    # Sixteen GPUs on two machines: 2 * 4 messages of 3 µs a sum; 2 * 15 / 16 of 160 MB at 50 GB/s is 6 ms.
    assert H100.exchange_s(16, sums=1, size=160e6) == pytest.approx(24e-6 + 6e-3)
    assert H100.exchange_s(8, sums=1, size=0) == pytest.approx(18e-6)


def test_the_efficiency_on_more_chips_is_of_the_stages_and_the_sums(tmp_path: Path) -> None:
    """1 ms of stages, 15 sums: on 256 chips of a torus 900 µs of messages, so 1 / 1.9 of the time is left."""
    (tmp_path / "parts").mkdir()
    for kind, seconds in (("rollout", 5e-4), ("labels", 2e-4), ("update", 3e-4)):
        one = made_up(aot.Program("SimpleDoorKey", 4096, kind=kind), 4096 * 32 / seconds)
        one["estimate"]["seconds"] = dict(cycles=seconds)
        (tmp_path / "parts" / f"{kind}.json").write_text(json.dumps(one))
    many = made_up(aot.Program("SimpleDoorKey", 16384, chips=4, kind="update"), 1.0)
    many["cost"] |= dict(collectives=15, collective_bytes=0)
    (tmp_path / "parts" / "many.json").write_text(json.dumps(many))
    text = aot_table.table(tmp_path, updates=8, turns=8, steps=16)
    assert "one after the other: 1 ms an update, 131 million steps/s" in text
    assert f"| 256 | 0.9 | 53 % | {256 * 131.072 / 1.9:,.0f} |" in text


def test_a_program_that_was_compiled_before_is_not_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = list[str]()

    def measured(program: aot.Program, target: Target, keep: Path | None) -> dict[str, Any]:
        compiled.append(program.name)
        return made_up(program, 1e6)

    monkeypatch.setattr(aot, "measured", measured)
    monkeypatch.setattr(Target, "devices", lambda self, number: [])
    words = ["aot.py", "--programs", "*init*,*evaluation*", "--out", str(tmp_path), "--json"]
    for _ in range(2):
        monkeypatch.setattr("sys.argv", words)
        aot.main()
        assert len(json.loads(capsys.readouterr().out)["programs"]) == 2
    assert compiled == ["SimpleDoorKey-fast-init-1024x1", "SimpleDoorKey-fast-evaluation-1024x1"]


SMALLEST = next(one for one in aot.PROGRAMS if one.kind == "block")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("libtpu") is None, reason="needs the extra aot: a compiler for TPUs")
def test_the_smallest_program_has_not_grown_by_a_fifth() -> None:
    target = Target.of("v5e:2x2", None)
    before = json.loads((aot.RESULTS / "parts" / f"v5e-2x2-{SMALLEST.name}.json").read_text())
    now = aot.measured(SMALLEST, target)
    for name in ("temp_bytes", "code_bytes"):
        assert now[name] <= 1.2 * before[name], name
    for name in ("copies", "copied_bytes"):
        assert now["cost"][name] <= 1.2 * before["cost"][name], name


def test_the_page_about_devices_has_the_tables_efficiencies() -> None:
    page = (aot.RESULTS.parents[2] / "docs" / "devices.md").read_text()
    rows = [tuple(cells) for cells in re.findall(r"^\| (\d+) \| (\d+) % \| (\d+) % \|$", page, re.MULTILINE)]
    text = (aot.RESULTS / "table.md").read_text().split("## Before")[0]
    found = {
        topology: dict(re.findall(r"^\| (\d+) \| [\d.]+ \| (\d+) % \|", part, re.MULTILINE))
        for topology, part in re.findall(r"^### (\S+) \((.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    }
    assert [chips for chips, *_ in rows] == ["4", "8", "64", "256"]
    for chips, gpu, tpu in rows:
        assert (found["h100"][chips], found["v5e:2x2"][chips]) == (gpu, tpu)
