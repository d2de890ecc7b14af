"""`report.html`: a run on one self-contained page, for phones and desktops.

Host module. It fills the template `templates/report.html.jinja`. Pictures are inlined, and the page needs no network
and no script.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np

from l4t_jax import commandline, files
from l4t_jax.config import PRESETS, Config
from l4t_jax.evaluation import intervals
from l4t_jax.reporting import advice, pictures, run_folder
from l4t_jax.reporting.result import Result
from l4t_jax.teacher import file

NAME = "report.html"
TEMPLATE = "report.html.jinja"


def write(result: Result, teacher_validation: dict[str, Any] | None) -> Path:
    """Writes `report.html` into the run folder, from the result and the folder's pictures and teacher file.

    Args:
        result: of the run.
        teacher_validation: the teacher's averages on the validation levels; None without a teacher.

    Returns:
        the page's path.
    """
    summary, folder = result.summary, result.run_dir
    success = summary["heldout"]["student"]["success"]
    page = template(TEMPLATE).render(
        summary=summary,
        seeds=len(success),
        success=sum(success) / len(success),
        how=_how(result),
        rows=_rows(result),
        animations=_animations(folder),
        curves=_curves(result, teacher_validation),
        reached=_reached(summary),
        teacher=_teacher(folder),
        guidance=[_as_options(one["said"]) for one in summary.get("guidance", ())],
        parts=_parts(summary),
        made=_made(summary),
        settings=_settings(result.config),
    )
    path = folder / NAME
    files.write_whole(path, page)
    return path


def template(name: str, package: str = "l4t_jax.reporting") -> Any:
    """A page's template; the values that it is given are escaped, and one that is missing is an error.

    Args:
        name: of the file.
        package: that has it; it may include those of `reporting`.
    """
    import jinja2

    homes = [jinja2.PackageLoader(one) for one in dict.fromkeys((package, "l4t_jax.reporting"))]
    pages = jinja2.Environment(loader=jinja2.ChoiceLoader(homes), autoescape=True, undefined=jinja2.StrictUndefined)
    return pages.get_template(name)


def inlined(data: bytes, kind: str) -> str:
    """A picture ("png" or "gif") as the address of an image."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _how(result: Result) -> str:
    summary, config = result.summary, result.config
    said = f"{summary['total_steps']:,} environment steps"
    said += f" each, {config.num_seeds} seeds side by side" if config.num_seeds > 1 else ""
    teacher = "no teacher" if summary["teacher"] == "none" else f"teacher {summary['teacher']}"
    return f"{said}; {config.algo}, preset {config.preset}, student {config.student}; {teacher}"


def _rows(result: Result) -> list[dict[str, Any]]:
    """One row per policy: its name, and success, return and length with their intervals, as text."""
    rows = []
    for name, episodes in result.heldout.items():
        found = intervals.intervals(episodes)
        figures = []
        for column, digits in (("success", 3), ("return", 3), ("length", 1)):
            mean, low, high = (f"{value:.{digits}f}" for value in found[column])
            figures.append(dict(mean=mean, low=low, high=high))
        rows.append(dict(name="random policy" if name == "random" else name, figures=figures))
    return rows


def _animations(folder: Path) -> list[tuple[str, str]]:
    return [(who, inlined(path.read_bytes(), "gif")) for who, path in run_folder.animations(folder).items()]


def _curves(result: Result, teacher: dict[str, Any] | None) -> list[tuple[str, str]]:
    from matplotlib.figure import Figure

    made = []
    for name in ("success", "return"):
        figure = Figure(figsize=(5, 3.8), layout="constrained", dpi=140)
        pictures.panel(figure.add_subplot(), result.records, teacher, name, columns=2)
        data = io.BytesIO()
        figure.savefig(data, format="png")
        made.append((name, inlined(data.getvalue(), "png")))
    return made


def _reached(summary: dict[str, Any]) -> str:
    """The steps at which every seed reached each success, in words; empty if none was reached by all."""
    said = []
    for level, seeds in summary["steps_to_success"].items():
        numbers = [steps for steps in seeds if steps is not None]
        if numbers and len(numbers) == len(seeds):
            said.append(f"at least {float(level):.0%} after {' / '.join(f'{steps:,}' for steps in numbers)}")
    return "; ".join(said)


def _teacher(folder: Path) -> dict[str, Any] | None:
    """The content of the run folder's teacher file, the most probable plan first; None without a file."""
    path = folder / run_folder.TEACHER
    if not path.is_file():
        return None
    content = run_folder.read(path)
    learned = advice.of_run(folder) or [None] * len(content["states"])
    states = []
    for state, worth in zip(content["states"], learned, strict=True):
        plans = []
        for plan in sorted(state["plans"], key=lambda plan: -plan["p"]):
            words = ", then ".join(" ".join(step).replace("_", " ") for step in plan["skills"] if step != ["noop"])
            plans.append(dict(p=plan["p"], words=words or "nothing"))
        sentence = file.state_of(state).sentence
        states.append(dict(sentence=sentence, plans=plans, worth=None if worth is None else advice.in_words(worth)))
    return dict(about=content.get("about", ""), states=states, learned=learned[:1] not in ([], [None]))


def _as_options(said: str) -> str:
    return commandline.in_options(said, commandline.settings_of(Config))


def _parts(summary: dict[str, Any]) -> dict[str, Any] | None:
    """The parts of the task and the share of the episodes of each policy that did them; None if there are none."""
    done = summary["heldout"].get("parts", {})
    who = [name for name in ("student", "student, greedy", "teacher", "random") if done.get(name)]
    if not who:
        return None
    rows = [(part, [f"{float(np.mean(done[name][part])):.3f}" for name in who]) for part in done[who[0]]]
    return dict(who=["random policy" if name == "random" else name for name in who], rows=rows)


def _made(summary: dict[str, Any]) -> list[tuple[str, str]]:
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in summary["seconds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return [
        ("device", summary["device"]),
        ("speed", f"{summary['env_steps_per_s']:,.0f} environment steps a second"),
        ("time", seconds),
        ("versions", versions),
    ]


def _settings(config: Config) -> list[dict[str, Any]]:
    """Every setting as an option; those that differ from the preset are marked `own`."""
    about, plain = commandline.docs(Config), {**dataclasses.asdict(Config()), **PRESETS[config.preset]}
    return [
        dict(
            flag=commandline.flag(name),
            value=value,
            own=value != plain[name] and name != "run_dir",
            about=about[name],
        )
        for name, value in dataclasses.asdict(config).items()
    ]
