"""`report.html`: a run on one page that stands alone, for a phone as well as a desktop.

Host module. Pictures are inlined, nothing is fetched, and no script is needed.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import io
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from l4t_jax import commandline, files
from l4t_jax.abstraction.symbolic import Symbolic
from l4t_jax.config import PRESETS, Config
from l4t_jax.evaluation import heldout
from l4t_jax.reporting import pictures, run_folder

if TYPE_CHECKING:
    from l4t_jax.training.loop import Result

NAME = "report.html"
WHO = {"student": "student", "student, greedy": "student, greedy", "teacher": "teacher", "random": "chance"}

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; --ink: #1c1e22; --faint: #5d626b; --line: #dcdee2; --student: #2f6fd0; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 62rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; } .faint, caption { color: var(--faint); font-size: .88rem; }
.pair { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; }
img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
figure.environment img { max-width: 380px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } .number td + td, .number th + th { text-align: right; }
.number td:first-child { overflow-wrap: normal; } .number tr > :last-child { padding-right: 0; }
td small { display: block; color: var(--faint); font-size: .8rem; white-space: nowrap; }
.plan { display: grid; grid-template-columns: 3.2rem 1fr; gap: .5rem; } .plan + .plan { margin-top: .15rem; }
.plan span { text-align: right; color: var(--faint); } details summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .6rem 0; } dd { margin: 0; }
dt { color: var(--faint); } code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .88em; }
@media (max-width: 30rem) { td small { font-size: .7rem; } .number td, .number th { padding-right: .5rem; }
  .states tr, .states td { display: block; border: 0; padding: .1rem 0; }
  .states tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } .states thead { display: none; }
  dl.settings { grid-template-columns: 1fr; } dl.settings dd { margin-bottom: .5rem; } }
</style>
</head>
<body>
<h1>$task</h1>
<p>$headline</p>
<p class="faint">$how</p>
<h2>On $levels levels that no training saw</h2>
<div class="wide">$table</div>
<h2>One of those levels</h2>
<p class="faint">The dark cells are those that the agent has not seen.</p>
<div class="pair">$animations</div>
<h2>While it learnt</h2>
<div class="pair">$curves</div>
$reached
$teacher
<h2>How it was made</h2>
$made
<details><summary>All settings</summary>$settings</details>
</body>
</html>
""")


def write(result: Result, teacher_validation: dict[str, Any] | None) -> Path:
    """Writes `report.html` into the run folder, from the result and the pictures and the teacher that lie there.

    Args:
        result: of the run.
        teacher_validation: its averages on the validation levels, None without one.

    Returns:
        the page's path.
    """
    summary, folder = result.summary, result.run_dir
    page = PAGE.substitute(
        title=_text(f"{summary['task']}: a run of l4t_jax"),
        task=_text(summary["task"]),
        headline=_headline(summary),
        how=_text(_how(result)),
        levels=f"{summary['heldout']['levels']:,}",
        table=_table(result),
        animations=_animations(folder),
        curves=_curves(result, teacher_validation),
        reached=_reached(summary),
        teacher=_teacher(folder),
        made=_made(summary),
        settings=_settings(result.config),
    )
    path = folder / NAME
    files.write_whole(path, page)
    return path


def _text(words: Any) -> str:
    return html.escape(str(words))


def _headline(summary: dict[str, Any]) -> str:
    heldout = summary["heldout"]
    seeds = heldout["student"]["success"]
    whose = "The student succeeds" if len(seeds) == 1 else f"The {len(seeds)} students succeed"
    said = f"{whose} on <strong>{sum(seeds) / len(seeds):.1%}</strong> of held-out levels"
    if heldout["teacher"] is not None:
        said += f", the teacher on {heldout['teacher']['success']:.1%}"
    return f"{said}, chance on {heldout['random']['success']:.1%}."


def _how(result: Result) -> str:
    summary, config = result.summary, result.config
    said = f"{summary['total_steps']:,} environment steps"
    said += f" each, {config.num_seeds} seeds side by side" if config.num_seeds > 1 else ""
    teacher = "no teacher" if summary["teacher"] == "none" else f"teacher {summary['teacher']}"
    return f"{said}; {config.algo}, preset {config.preset}, student {config.student}; {teacher}"


def _table(result: Result) -> str:
    rows = []
    for name, episodes in result.heldout.items():
        found = heldout.intervals(episodes)
        cells = []
        for column, digits in (("success", 3), ("return", 3), ("length", 1)):
            mean, low, high = found[column]
            cells.append(f"<td>{mean:.{digits}f}<small>{low:.{digits}f} to {high:.{digits}f}</small></td>")
        rows.append(f"<tr><td>{_text(WHO.get(name, name))}</td>{''.join(cells)}</tr>")
    seeds = result.config.num_seeds
    caption = "Below each mean its 95 % interval" + (", over the levels of all seeds" if seeds > 1 else "") + "."
    head = "<thead><tr><th></th><th>success</th><th>return</th><th>length</th></tr></thead>"
    return f'<table class="number"><caption>{caption}</caption>{head}<tbody>{"".join(rows)}</tbody></table>'


def _image(data: bytes, kind: str, words: str) -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(data).decode()}" alt="{_text(words)}">'


def _animations(folder: Path) -> str:
    made = []
    for who in ("student", "teacher"):
        path = folder / f"{who}.gif"
        if path.is_file():
            shown = _image(path.read_bytes(), "gif", f"an episode of the {who}")
            made.append(f'<figure class="environment">{shown}</figure>')
    return "".join(made)


def _curves(result: Result, teacher: dict[str, Any] | None) -> str:
    from matplotlib.figure import Figure

    made = []
    for name in ("success", "return"):
        figure = Figure(figsize=(5, 3.8), layout="constrained", dpi=140)
        pictures.panel(figure.add_subplot(), result.records, teacher, name, columns=2)
        data = io.BytesIO()
        figure.savefig(data, format="png")
        made.append(f"<figure>{_image(data.getvalue(), 'png', f'{name} against environment steps')}</figure>")
    return "".join(made)


def _reached(summary: dict[str, Any]) -> str:
    said = []
    for level, seeds in summary["steps_to_success"].items():
        numbers = [steps for steps in seeds if steps is not None]
        if numbers and len(numbers) == len(seeds):
            said.append(f"at least {float(level):.0%} after {' / '.join(f'{steps:,}' for steps in numbers)}")
    if not said:
        return ""
    return f'<p class="faint">Success on validation levels, twice in a row: {"; ".join(said)} steps.</p>'


def _teacher(folder: Path) -> str:
    path = folder / run_folder.TEACHER
    if not path.is_file():
        return ""
    content = run_folder.read(path)
    rows = []
    for state in content["states"]:
        plans = []
        for plan in sorted(state["plans"], key=lambda plan: -plan["p"]):
            words = ", then ".join(" ".join(step).replace("_", " ") for step in plan["skills"] if step != ["noop"])
            plans.append(f'<div class="plan"><span>{plan["p"]:.2f}</span><div>{_text(words or "nothing")}</div></div>')
        said = _text(Symbolic(tuple(state["sees"]), state["holds"]).sentence)
        rows.append(f"<tr><td>{said}</td><td>{''.join(plans) or 'no guidance'}</td></tr>")
    about = f'<p class="faint">{_text(content.get("about", ""))}</p>'
    head = "<thead><tr><th>what the agent knows</th><th>plans and their probabilities</th></tr></thead>"
    return f'<h2>What its teacher says</h2>{about}<table class="states">{head}<tbody>{"".join(rows)}</tbody></table>'


def _pairs(pairs: list[tuple[str, str]], name: str = "") -> str:
    inside = "".join(f"<dt>{key}</dt><dd>{value}</dd>" for key, value in pairs)
    return f'<dl class="{name}">{inside}</dl>'


def _made(summary: dict[str, Any]) -> str:
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in summary["seconds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return _pairs(
        [
            ("device", _text(summary["device"])),
            ("speed", f"{summary['env_steps_per_s']:,.0f} environment steps a second"),
            ("time", _text(seconds)),
            ("versions", _text(versions)),
        ]
    )


def _settings(config: Config) -> str:
    said, plain = commandline.docs(Config), {**dataclasses.asdict(Config()), **PRESETS[config.preset]}
    pairs = []
    for name, value in dataclasses.asdict(config).items():
        shown = f"<code>{_text(commandline.flag(name))} {_text(value)}</code>"
        if value != plain[name] and name not in ("run_dir",):
            shown = f"<strong>{shown}</strong>"
        pairs.append((shown, f'<span class="faint">{_text(said[name])}</span>'))
    return _pairs(pairs, "settings")
