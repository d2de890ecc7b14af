"""Odd local models through transformers itself: a tiny random one, made here. Slow tier; needs the extra llm."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from l4t_jax.envs import get_task
from l4t_jax.errors import BackendError
from l4t_jax.teacher import prompt
from l4t_jax.teacher.backends import Options, Request, Sampling, completion, open_backend
from l4t_jax.teacher.grammar import plans, situations, write_plan

pytestmark = pytest.mark.slow
TASK = get_task("SimpleDoorKey")
CHAT = "{% for m in messages %}{{ m.role }} {{ m.content }} {{ eos_token }}{% endfor %}assistant"
FAILS = "{{ raise_exception('roles must alternate') }}"
STATE = situations(TASK)[1]
CHOICES = [write_plan(plan) for plan in plans(STATE)]
ASKED = Request(prompt.load(TASK).messages(STATE.state.sentence), STATE.state, None, Sampling(max_tokens=4))


def tiny(folder: Path, template: Any = None, eos: str | None = "</s>", context: int = 2048, ends: Any = None) -> str:
    """A Llama of random weights, words for tokens; its tokenizer drops line ends. Returns its folder."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = re.findall(
        r"\S+", "go to pick up open drop explore key door < > , . : agent sees holds nothing assistant user"
    )
    vocabulary = {word: i for i, word in enumerate(["<unk>", "</s>", "<end>", *words])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    special = {"unk_token": "<unk>"} | ({"eos_token": eos} if eos else {})
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)
    tokenizer.chat_template = template
    config = transformers.LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=context, eos_token_id=1 if eos else None, bos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)
    model.generation_config.eos_token_id = ends if ends is not None else config.eos_token_id
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return f"transformers:{folder}"


@pytest.mark.parametrize(
    "oddity",
    [
        {},  # a base model without a token for the end of a line
        {"template": CHAT},
        {"template": {"chat": CHAT, "tool_use": FAILS}},  # no default among several
        {"template": CHAT, "ends": [1, 2]},
        {"template": CHAT, "eos": None, "ends": [2]},
    ],
)
def test_an_odd_model_samples_and_scores(oddity: dict[str, Any], tmp_path: Path) -> None:
    backend = open_backend(tiny(tmp_path, **oddity), TASK, Options(threads=1))
    answers = dict(backend.sample(ASKED, range(6)))
    assert sorted(answers) == list(range(6))
    faults = {answer.fault for answer in answers.values() if not isinstance(answer, str)}
    assert faults <= {None, completion.CUT}
    assert all(score < 0 for score in backend.score(ASKED, CHOICES))


def test_no_name_that_the_library_has_given_up_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    transformers = pytest.importorskip("transformers")
    backend = open_backend(tiny(tmp_path, template=CHAT), TASK, Options(threads=1))
    transformers.utils.logging.set_verbosity_warning()
    transformers.utils.logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(backend.sample(ASKED, range(2)))
        backend.score(ASKED, CHOICES)
    assert "deprecated" not in caplog.text


@pytest.mark.parametrize(
    ("oddity", "said"),
    [
        ({"eos": None}, "has no token that ends an answer"),
        ({"template": FAILS}, "the model's chat template fails: roles must alternate"),
        ({"template": "{{ messages[0].role }}"}, "drops the last message"),
        ({"context": 32}, r"the prompt has \d+ tokens and the answer needs 1, but the model's context length is 32"),
    ],
)
def test_an_odd_model_that_cannot_work_is_one_sentence(oddity: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=said) as caught:
        list(open_backend(tiny(tmp_path, **oddity), TASK, Options(threads=1)).sample(ASKED, [0]))
    assert "\n" not in str(caught.value)
