"""Answers as plans: what the parser takes, what it does not, and that no text can hurt it."""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from l4t_jax.envs import get_task, list_tasks
from l4t_jax.skills.base import get_skill
from l4t_jax.teacher import prose, structured
from l4t_jax.teacher.grammar import plans, situations, write_plan
from l4t_jax.teacher.parser import LONGEST, MOST_STEPS, parse, parse_cut
from l4t_jax.teacher.reasoning import final, whole

OBJECTS = ("key", "door")
SKILLS = ("explore", "go_to", "pick_up", "drop", "open")
FETCH = (("go_to", "key"), ("pick_up", "key"))


def steps(text: str, objects: tuple[str, ...] = OBJECTS) -> tuple[tuple[str, ...], ...] | None:
    return parse(text, objects, SKILLS).steps


@pytest.mark.parametrize(
    "text",
    [
        "go to <key>, pick up <key>",
        "Go to <key>, Pick up <key>.",
        "go_to key, pick_up key",
        "go to the key and pick up the key",
        "go to the key, then pick up the key.",
        "1. go to <key>\n2. pick up <key>",
        "1) go to <key>\n2) pick up <key>\n\nThis plan fetches the key, which opens the door.",
        "- go to `key`\n- pick up `key`",
        "Step 1: go to <key>\nStep 2: pick up <key>",
        "Plan: go to <key>, pick up <key>",
        "Sure! Here is the plan: go to <key>; pick up <key>",
        "The agent should go to the key, then pick up the key.",
        '["go to <key>", "pick up <key>"]',
        '[["go_to", "key"], ["pick_up", "key"]]',
        '{"plan": "go to <key>, pick up <key>"}',
        '{"plan": ["go to key", "pick up key"]}',
        '```json\n{"steps": [{"skill": "go_to", "object": "key"}, {"skill": "pick_up", "object": "key"}]}\n```',
        "<think>open <door>? No, the key first.</think>go to <key>, pick up <key>",
        "go to <key>, pick up <key>\nAgent sees <nothing>, holds <key>.\nexplore",
        "go to <key> -> pick up <key>",
    ],
)
def test_the_ways_to_write_a_plan_are_understood(text: str) -> None:
    assert steps(text) == FETCH


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "I cannot help with that request, as it asks me to plan for an agent.", "???", "{}", "[]", "null",
     "42", "use key", "drop <house>, fly to <moon>", "go to", "<think>go to <key>", '{"plan": []}', '{"plan": null}'],
)  # fmt: skip
def test_an_answer_without_a_step_is_unusable(text: str) -> None:
    assert steps(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go to <key>, use <key>", (("go_to", "key"), ("noop",))),
        ("go to <east>, open <door>", (("noop",), ("open", "door"))),
        ("search, open <door>", (("noop",), ("open", "door"))),  # a skill, but not of this task
    ],
)
def test_a_step_that_names_nothing_known_is_a_counted_noop(text: str, expected: tuple[tuple[str, ...], ...]) -> None:
    found = parse(text, OBJECTS, SKILLS)
    assert found.steps == expected
    assert found.noops == 1


def test_an_object_may_have_a_word_too_many_or_too_few_if_it_stays_the_only_one() -> None:
    coloured = ("color1 key", "color2 key", "color1 door")
    assert steps("go to the locked door") == (("go_to", "door"),)
    assert steps("go to <door>", coloured) == (("go_to", "color1 door"),)
    assert steps("go to <color2 key>, open <door>", coloured) == (("go_to", "color2 key"), ("open", "color1 door"))
    assert steps("go to <key>", coloured) is None  # which?


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("put it down, go to <ball>", (("put_down",), ("go_to", "ball"))),
        (
            "put down the key, go to the ball and pick it up",
            (("put_down",), ("go_to", "ball"), ("pick_up", "ball")),
        ),
        ("The agent is holding the ball, so it should put the ball down.", (("put_down",),)),
        ("clear <blocked key>, pick up <key>", (("clear", "key"), ("pick_up", "key"))),
        ("We must open the locked door. To do that, find the key.", (("find",),)),
        ("open <locked door> to reach <ball>", (("open", "locked door"),)),
        ("go to <closed door>, open door", (("go_to", "closed door"), ("noop",))),  # which?
        ("find (the key is not in view)", (("find",),)),
        ("explore", None),  # not a skill of this task
    ],
)
def test_the_skills_and_objects_of_another_task_are_read_as_well(
    text: str, expected: tuple[tuple[str, ...], ...] | None
) -> None:
    skills = ("find", "go_to", "reach", "clear", "pick_up", "open", "put_down")
    assert parse(text, ("key", "ball", "locked door", "closed door"), skills).steps == expected


def test_a_plan_is_cut_after_the_steps_that_are_ever_walked() -> None:
    found = steps(", ".join(["go to <key>"] * 100))
    assert found == (("go_to", "key"),) * MOST_STEPS


@pytest.mark.parametrize("name", [name for name in list_tasks() if name not in ("DoorKey-5x5", "DoorKey-16x16")])
def test_every_plan_of_every_task_is_read_as_it_was_written(name: str) -> None:
    asked = situations(get_task(name))
    written = {(plan, tuple(one.objects), tuple(one.skills)) for one in asked for plan in plans(one)}
    for plan, objects, skills in written:  # each once: most situations share their plans
        found = parse(write_plan(plan), objects, skills)
        assert (found.steps, found.noops) == (plan, 0)


# Whatever an LLM may answer

_FRAGMENTS = st.sampled_from(
    ["go to", "<key>", "pick up", "explore", "open <door>", ", ", "\n", "{", "}", "[", "]", '"', '"plan": ', ":", "1.",
     "then", "and", "<think>", "</think>", "\\", "__import__('os').system('touch hurt')", "{{state}}", "null", "1e999",
     "Agent sees", "<|im_end|>", "\x00", "\u202e", "𝕘𝕠 𝕥𝕠", "...", "!!python/object/apply:os.system ['touch hurt']",
     "[" * 3000, '{"a":' * 1500, "9" * 5000, "cos\nsystem\n(S'touch hurt'\ntR."]
)  # fmt: skip
_PIECES = st.one_of(_FRAGMENTS, st.text(max_size=12))
ANSWERS = st.one_of(st.text(max_size=400), st.lists(_PIECES, max_size=40).map("".join))


def _survives(text: str) -> None:
    found = parse(text, OBJECTS, SKILLS)
    assert found == parse(text, OBJECTS, SKILLS)
    if found.steps is None:
        assert found.noops == 0
        return
    assert 1 <= len(found.steps) <= MOST_STEPS
    assert found.noops == sum(step == ("noop",) for step in found.steps) < len(found.steps)
    for step in found.steps:
        bare = len(step) == 1 and step[0] in ("explore", "search", "noop")
        assert bare or (len(step) == 2 and get_skill(step[0]).takes_object and step[1] in OBJECTS)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANSWERS)
def test_any_text_is_a_plan_of_known_steps_or_unusable(text: str) -> None:
    _survives(text)


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANSWERS)
def test_any_of_twenty_thousand_texts_is_a_plan_of_known_steps_or_unusable(text: str) -> None:
    _survives(text)


def test_hostile_answers_are_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in (
        "__import__('os').system('touch hurt')",
        "!!python/object/apply:os.system ['touch hurt']",
        "cos\nsystem\n(S'touch hurt'\ntR.",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "explore; $(touch hurt); `touch hurt`",
    ):
        _survives(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "piece",
    ["[", '{"a":', "go to ", "<think>", "- ", ",", "a:", "then ", "\n", "1.", "[1,",
     pytest.param("a" + " " * 999, id="a gap"), "The agent should go to the key. However, ", "go to <key>.\nWait, "],
)  # fmt: skip
def test_ten_times_the_text_takes_about_ten_times_as_long(piece: str) -> None:
    few = piece * (100_000 // len(piece))
    assert _seconds(steps, few * 10) < 40 * _seconds(steps, few)  # a hundred times, if each piece is read anew


def test_no_more_than_the_longest_plan_is_split_into_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    for module in (structured, prose):
        monkeypatch.setattr(module, "fragments", lambda text, reader: seen.append(len(text)) or [])
    parse("go to the key\n" * 100_000, OBJECTS, SKILLS)
    assert seen == [LONGEST, LONGEST]


# Answers as people's models write them

CORPUS = json.loads((Path(__file__).parent / "data" / "answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", sorted({answer["form"] for answer in CORPUS}))
def test_answers_as_models_write_them_have_their_right_reading(form: str) -> None:
    wrong = []
    for answer in CORPUS:
        if answer["form"] == form:
            found = parse(answer["text"], OBJECTS, SKILLS)
            read = None if found.steps is None else [list(step) for step in found.steps]
            if read != answer["plan"]:
                wrong.append((answer["text"], answer["plan"], read))
    assert wrong == []


def test_the_corpus_holds_two_hundred_answers_and_more() -> None:
    assert len({answer["text"] for answer in CORPUS}) >= 200
    assert sum(answer["plan"] is None for answer in CORPUS) >= 20


@pytest.mark.parametrize(
    "mark", ["<think>", "</think>", "[THINK]", "<|channel|>final", "assistantfinal", "```thinking "]
)
def test_ten_times_the_marks_take_about_ten_times_as_long(mark: str) -> None:
    few = mark * (100_000 // len(mark))
    assert _seconds(final, few * 10) < 40 * _seconds(final, few)  # a hundred times, if each is read anew


def _seconds(read: Callable[[str], object], text: str) -> float:
    """Seconds of the processor's time, which other processes take no part in: the least of three.

    Without collecting garbage, which takes a second where other tests have left much.
    """
    taken: list[float] = []
    gc.disable()
    try:
        for _ in range(3):
            start = time.process_time()
            read(text)
            taken.append(time.process_time() - start)
    finally:
        gc.enable()
    return min(taken)


def test_what_follows_the_last_mark_counts_however_long_the_reasoning_was() -> None:
    thought = "open <door>, " * 100_000
    for text in (f"<think>{thought}</think>explore", f"{thought}</think>explore"):
        assert steps(text) == (("explore",),)
        assert final(text) == "explore"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("explore. I would do so bec", "explore."),
        ("go to <key>\nAgent sees", "go to <key>"),
        ("go to <key>, pick up <k", ""),
        ('{"plan": "expl', ""),
        ("", ""),
    ],
)
def test_of_an_answer_that_was_cut_off_its_whole_lines_and_sentences_count(text: str, left: str) -> None:
    assert whole(text) == left


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go to <key>, pick up <key>\nThis fetches the k", FETCH),
        ("explore. I would do so bec", (("explore",),)),
        ('{"plan": ["go to <key>", "pick up <key>"]}\nHere the', FETCH),
        ("go to <key>\nAgent sees <", (("go_to", "key"),)),
        ("go to <key>, pick up <k", None),
        ("1. go to <key>\n2. pick up <k", None),  # a step is lost
        ("1. go to <key>\n2", None),
        ("Okay, so I need to open <door>. But wait, the", None),  # reasoning, its opening mark in the prompt
        ("open <door> is what I would try. Hmm, but", None),
        ("<think>open <door>. Then expl", None),
    ],
)
def test_a_cut_answer_counts_only_if_its_plan_ended_before_the_cut(
    text: str, expected: tuple[tuple[str, ...], ...] | None
) -> None:
    assert parse_cut(text, OBJECTS, SKILLS).steps == expected
