"""Local models as they come: templates that fail or drop what they are given, no end token, several, little room.

The tokenizer is a double that renders templates with jinja2, as transformers does; a token is a letter. The slow tests
of the transformers backend have a real model.
"""

from types import SimpleNamespace as Config
from typing import Any

import jinja2
import pytest

from l4t_jax.errors import BackendError
from l4t_jax.teacher.backends.chat_template import (
    answer_text,
    end_tokens,
    longest,
    prompt_text,
    prompt_tokens,
    room,
    template_of,
)

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}<assistant>"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
DROPS_SYSTEM = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
DROPS_ALL = "<assistant>"
LAST_ALONE = "<user>{{ messages[-1].content }}<assistant>"
NO_EXAMPLES = "{% for m in messages if m.role != 'assistant' %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
SYSTEM_LAST = (
    "{% for m in messages[1:] %}<{{ m.role }}>{{ messages[0].content if loop.last }}{{ m.content }}{% endfor %}"
    "<assistant>"
)
FAILS = "{{ raise_exception('Conversation roles must alternate') }}"
MESSAGES = [
    {"role": "system", "content": "Plan for an agent.\n"},
    {"role": "user", "content": "Agent sees <nothing>."},
    {"role": "assistant", "content": "explore"},
    {"role": "user", "content": "Agent sees <key>."},
]
JOINED = "<user>Plan for an agent.\n\n\nAgent sees <nothing>.<assistant>explore<user>Agent sees <key>.<assistant>"
ONE = "<user>Plan for an agent.\n\n\nAgent sees <nothing>.\n\nexplore\n\nAgent sees <key>.<assistant>"


class Tokenizer:
    """A letter is a token; special tokens are numbers from 1,000,000 on."""

    def __init__(self, template: Any = None, eos: Any = None, special: tuple[str, ...] = (), newline: bool = True):
        self.chat_template, self.eos_token_id, self.all_special_tokens = template, eos, list(special)
        self.unk_token_id, self.newline = 0, newline

    def apply_chat_template(self, messages: Any, chat_template: str, **more: Any) -> str:
        def fail(said: str) -> None:
            raise jinja2.TemplateError(said)

        template = jinja2.Environment().from_string(chat_template)
        return template.render(messages=messages, raise_exception=fail, **more)

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        kept = text if self.newline else text.replace("\n", "")
        return {"input_ids": [*([1] if add_special_tokens else []), *map(ord, kept)]}

    def decode(self, tokens: list[int], skip_special_tokens: bool) -> str:
        special = [] if skip_special_tokens else self.all_special_tokens
        pieces = (special[t - 1_000_000] if t >= 1_000_000 and special else chr(t) for t in tokens)
        return "".join(pieces if special else (chr(t) for t in tokens if t < 1_000_000))


# Templates


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (CHAT, "<system>Plan for an agent.<user>Agent sees <nothing>.<assistant>explore<user>Agent sees <key>."),
        (NO_SYSTEM, JOINED),
        (DROPS_SYSTEM, JOINED),
        (LAST_ALONE, ONE),
        (NO_EXAMPLES, ONE),
        (SYSTEM_LAST, "<user>Agent sees <nothing>.<assistant>explore<user>Plan for an agent.\nAgent sees <key>."),
        ({"default": CHAT, "tool_use": FAILS}, "<system>Plan"),
        ({"tool_use": FAILS, "chat": CHAT}, "<system>Plan"),
        ({"rag": CHAT}, "<system>Plan"),
        ([{"name": "default", "template": CHAT}], "<system>Plan"),
    ],
)  # fmt: skip
def test_nothing_of_the_prompt_is_lost_whatever_the_template(template: Any, text: str) -> None:
    found = prompt_text(Tokenizer(template), MESSAGES)
    assert found.startswith(text)
    assert all(message["content"].strip() in found for message in MESSAGES)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (FAILS, "the model's chat template fails: Conversation roles must alternate"),
        ("{% for %}", "the model's chat template fails: "),
        ("{{ messages[0].content.nothing.more }}", "the model's chat template fails: "),
        (DROPS_ALL, "the model's chat template drops the last message"),
    ],
)
@pytest.mark.parametrize("start", [0, 1])
def test_a_template_that_fails_is_one_sentence_in_its_own_words(template: str, said: str, start: int) -> None:
    with pytest.raises(BackendError, match=said) as caught:
        prompt_text(Tokenizer(template), MESSAGES[start:])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("template", [None, {}, "", []])
def test_a_model_without_a_template_is_given_the_texts_alone(template: Any) -> None:
    tokenizer = Tokenizer(template)
    assert template_of(tokenizer) is None
    text = prompt_text(tokenizer, MESSAGES[1:])
    assert text == "Agent sees <nothing>.\n\nexplore\n\nAgent sees <key>.\n"
    assert prompt_tokens(tokenizer, text)[0] == 1  # a base model's own first token; a template writes it itself
    assert prompt_tokens(Tokenizer(CHAT), "ab") == [ord("a"), ord("b")]


def test_an_example_that_is_dropped_is_missed_although_the_system_message_has_its_words() -> None:
    told = [{"role": "system", "content": "Its skills: explore."}, *MESSAGES[1:]]
    assert prompt_text(Tokenizer(NO_EXAMPLES), told).count("explore") == 2


def test_a_base_models_prompt_does_not_end_with_the_token_that_ends_texts() -> None:
    class Ends(Tokenizer):
        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            bare = super().__call__(text, False)["input_ids"]
            return {"input_ids": [1, *bare, 2] if add_special_tokens else bare}

    assert prompt_tokens(Ends(), "ab") == [1, ord("a"), ord("b")]
    assert prompt_tokens(Ends(CHAT), "ab") == [ord("a"), ord("b")]


# End tokens


@pytest.mark.parametrize(
    ("tokenizer", "configs", "ends"),
    [
        (Tokenizer(CHAT, eos=7), [], [7]),
        (Tokenizer(CHAT, eos=[7, 8]), [Config(eos_token_id=[8, 9])], [7, 8, 9]),
        (Tokenizer(CHAT), [Config(eos_token_id=[8, 9]), Config(eos_token_id=9)], [8, 9]),
        (Tokenizer(CHAT), [Config(), Config(eos_token_id=5)], [5]),
        (Tokenizer(None, eos=7), [], [ord("\n")]),
        (Tokenizer(None, eos=7, newline=False), [], [7]),
    ],
)
def test_the_tokens_that_end_an_answer(tokenizer: Any, configs: list[Any], ends: list[int]) -> None:
    assert end_tokens(tokenizer, *configs) == ends


@pytest.mark.parametrize("tokenizer", [Tokenizer(CHAT), Tokenizer(None, newline=False), Tokenizer(CHAT, eos=[])])
def test_a_model_whose_answers_would_never_end_is_one_sentence(tokenizer: Any) -> None:
    with pytest.raises(BackendError, match="has no token that ends an answer"):
        end_tokens(tokenizer, Config(eos_token_id=None))


# Room


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (Config(max_position_embeddings=512), 512),
        (Config(text_config=Config(max_position_embeddings=256)), 256),
        (Config(n_positions=1024), 1024),
        (Config(), 2048),
    ],
)
def test_a_model_says_how_much_it_reads(config: Any, limit: int) -> None:
    assert longest(Config(model_max_length=2048), config) == limit
    assert longest(Config(model_max_length=int(1e30)), Config()) is None


def test_an_answer_is_as_long_as_there_is_room_and_a_prompt_too_long_is_one_sentence() -> None:
    prompt = list(range(100))
    assert room(prompt, None, 64) == 64
    assert room(prompt, 200, 64) == 64
    assert room(prompt, 120, 64) == 20
    for limit, least in ((100, 1), (90, 1), (120, 30)):
        with pytest.raises(BackendError, match=f"has 100 tokens .* {least}, but the model's context length is {limit}"):
            room(prompt, limit, 64, least)


# What is answered


def test_reasoning_goes_where_its_marks_are_special_tokens_or_stand_in_the_prompt() -> None:
    tokenizer = Tokenizer(CHAT, special=("[THINK]", "[/THINK]", "</s>"))
    think, stop, end = 1_000_000, 1_000_001, 1_000_002

    def tokens(*parts: Any) -> list[int]:
        return [t for part in parts for t in ([part] if isinstance(part, int) else map(ord, part))]

    assert answer_text(tokenizer, tokens(think, "open <door>", stop, "explore", end), "") == "explore"
    assert answer_text(tokenizer, tokens("open <door>", stop, "explore"), "<assistant>[THINK]\n") == "explore"
    assert answer_text(tokenizer, tokens("Maybe open <door>"), "<assistant><think>\n") == ""
    assert answer_text(tokenizer, tokens("explore", end), "<assistant>") == "explore"
