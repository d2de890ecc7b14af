"""Any server with OpenAI's chat API: a hosted one, llama.cpp's, vLLM's, Ollama's, `transformers serve`.

Host module; importing it imports the `openai` client (extra `llm`). The client does all HTTP: proxies, redirects,
compression, certificates, addresses. Two things are done here. *Time limit*: the client limits each read; this module
limits the whole request, so a very slow server cannot block a recording. *Retries*: the client looks at the status
only; this module also handles truncated responses, errors inside a 200, and quotas for which waiting does not help.

The key is read from OPENAI_API_KEY. It is sent in the Authorization header only. It is removed from a server's messages
before they are shown or stored, and it is not sent to another host after a redirect.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import os
import queue
import random
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

from l4t_jax.teacher.backends import Answer, BackendError, Options, Request, completion
from l4t_jax.teacher.backends.completion import PASSING, Refused
from l4t_jax.teacher.ledger import Call
from l4t_jax.teacher.reasoning import final

try:
    import openai
except ImportError as error:
    raise BackendError(
        f"`teacher=openai:MODEL` needs the extra llm ({error.name} is not installed); pip install openai brings it"
    ) from error

OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
LONGEST_BODY = 8 << 20  # bytes; a normal response has a few hundred
LONGEST_TEXT = 65_536  # characters of an answer that are kept
NO_LIMIT = 32_768  # tokens that an answer may have if `extra` takes the limit away
LONGEST_WAIT = 60.0  # most seconds before a retry, even if the server asks for more

Finished = tuple[int, "Answer | Exception"]


class _Passing(Exception):
    """A request failed temporarily and can be sent again.

    Args:
        reason: for the user.
        wait: seconds that the server asks to wait; None if it does not say.
        answer: the result if all retries fail; None raises.
    """

    def __init__(self, reason: str, wait: float | None = None, answer: Answer | None = None) -> None:
        super().__init__(reason)
        self.wait, self.answer = wait, answer


class OpenAIBackend:
    """A chat model behind a server.

    Args:
        model: the model's name on the server.
        options: `base_url`, `timeout`, `retries`, `concurrency` and `extra` are used. A field of `extra` replaces the
            request's own; null leaves the field out.

    Raises:
        BackendError: an option is out of range, the address is invalid, or the key is missing or in the wrong place.
    """

    scores = False
    constrains = True
    counts_calls = True

    def __init__(self, model: str, options: Options) -> None:
        self._key = os.environ.get(KEY, "").strip()
        self._place = _address(options.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI)
        self._model, self._options = model, options
        if not (0 < options.timeout <= 3600):
            raise BackendError(f"`timeout` must be above 0 and at most 3600 seconds, not {options.timeout:g}")
        if not (0 <= options.retries <= 20 and 1 <= options.concurrency <= 256):
            raise BackendError("`retries` must be from 0 to 20 and `concurrency` from 1 to 256")
        if self._place == OPENAI and not self._key:
            raise BackendError(
                f"OpenAI's server needs a key in the environment variable {KEY}; `base_url` names another"
            )
        if any(not " " < letter < "\x7f" for letter in self._key):
            raise BackendError(f"the environment variable {KEY} contains characters that no key has")
        if self._key and any(self._key in text for text in (model, self._place, json.dumps(options.extra))):
            raise BackendError(f"`teacher`, `base_url` and `extra` must not hold the key; {KEY} is the place for it")
        fixed = [name for name in ("model", "messages") if name in options.extra]
        if fixed:
            raise BackendError(f"`extra` cannot change {fixed[0]!r}; use `teacher` and `prompt` for that")
        self._changes: dict[str, str | None] = {}  # request fields renamed for the server (None: left out)
        self._client()  # reports an unusable address or proxy before any request
        self.identity: dict[str, Any] = {"backend": "openai", "model": model, "server": self._place}
        if options.extra:
            self.identity["extra"] = options.extra

    def _client(self) -> openai.AsyncOpenAI:
        """A client, for one event loop. Its own retries are off; the module docstring says why."""
        try:
            return openai.AsyncOpenAI(
                api_key=self._key or "none",
                base_url=self._place,
                timeout=self._options.timeout,
                max_retries=0,
            )
        except ImportError as error:
            raise BackendError(f"the proxy in the environment variables cannot be used: {error}") from error
        except Exception as error:  # httpx or httpx2, whichever the client uses, raises several types
            raise BackendError(
                f"`base_url` {self._place!r}, or the proxy in the environment variables, is not a valid address"
            ) from error

    # Asking

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        raise BackendError("an OpenAI-compatible server cannot give the likelihood of a text; use `ask=sample`")

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Yields answers as they arrive. After a failure, only requests already sent are awaited and yielded."""
        done: queue.SimpleQueue[Finished | None] = queue.SimpleQueue()
        loop = asyncio.new_event_loop()
        asking = loop.create_task(self._ask(request, numbers, done))

        def work() -> None:
            asyncio.set_event_loop(loop)
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(asking)
            except Exception as error:
                done.put((-1, error))
            finally:
                done.put(None)  # before the loop closes, because closing waits for DNS look-ups
                loop.close()

        threading.Thread(target=work, daemon=True, name="openai").start()
        failure: Exception | None = None
        try:
            while (finished := done.get()) is not None:
                number, answer = finished
                if isinstance(answer, Answer):
                    yield number, answer
                else:
                    failure = failure or answer
        finally:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(asking.cancel)
        if failure is not None:
            raise failure

    async def _ask(self, request: Request, numbers: Sequence[int], done: queue.SimpleQueue[Any]) -> None:
        """Puts (number, answer or failure) into the queue, with `concurrency` requests at a time."""
        waiting, stop = iter(numbers), asyncio.Event()
        async with self._client() as client:

            async def work() -> None:
                for number in waiting:
                    if stop.is_set():
                        return
                    try:
                        done.put((number, await self._answer(client, request, number, stop)))
                    except Exception as error:
                        stop.set()
                        done.put((number, error))

            await asyncio.gather(*(work() for _ in range(min(self._options.concurrency, len(numbers)))))

    async def _answer(self, client: openai.AsyncOpenAI, request: Request, number: int, stop: asyncio.Event) -> Answer:
        """One answer, with retries after temporary failures."""
        for attempt in range(self._options.retries + 1):
            try:
                return await self._once(client, request, number)
            except _Passing as error:
                if attempt == self._options.retries or stop.is_set():
                    if error.answer is not None:
                        return error.answer
                    tries = "once" if attempt == 0 else f"{attempt + 1} times"
                    raise BackendError(f"the server at {self._place} {error} (asked {tries})") from None
                backoff = min(LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.75, 1.25)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        stop.wait(), backoff if error.wait is None else min(LONGEST_WAIT, error.wait)
                    )
        raise AssertionError("unreachable")

    async def _once(self, client: openai.AsyncOpenAI, request: Request, number: int) -> Answer:
        """Sends a request until the server accepts its fields; each iteration renames or leaves out one field."""
        while True:
            body = self._body(request, number)
            limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if type(body.get(name)) is int]
            most_out = max(limits, default=NO_LIMIT)
            try:
                with request.ledger.call(request.size, len(request.messages), most_out) as call:
                    raw = await self._send(client, body)
                    return self._read(raw, request, call)
            except Refused as refused:
                if refused.status in (200, 400, 422):
                    change = completion.change_for(refused.words, body)
                    if change is not None and change[0] not in self._options.extra:
                        self._changes[change[0]] = change[1]
                if self._body(request, number) == body:
                    raise self._for_person(refused, body) from None

    def _body(self, request: Request, number: int) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(request.messages),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed + number,
        }
        if request.choices is not None:
            schema = {
                "type": "object",
                "properties": {"plan": {"type": "string", "enum": list(request.choices)}},
                "required": ["plan"],
                "additionalProperties": False,
            }
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "plan", "strict": True, "schema": schema},
            }
        named = {self._changes.get(name, name): value for name, value in body.items()}
        whole = {name: value for name, value in named.items() if name is not None} | self._options.extra
        return {name: value for name, value in whole.items() if value is not None}

    async def _send(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> bytes:
        """Sends one request and returns the body of the response, within the time limit.

        Raises:
            _Passing: a temporary failure.
            Refused: the server refuses the request.
            BackendError: a permanent failure.
        """
        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
        headers = {} if self._key else {"Authorization": openai.Omit()}
        asked = client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=body["messages"], extra_body=rest, extra_headers=headers
        )
        raw, begun = bytearray(), False
        try:
            async with asyncio.timeout(self._options.timeout):
                async with asked as response:
                    begun = True
                    async for chunk in response.iter_bytes():
                        raw += chunk
                        if len(raw) > LONGEST_BODY:
                            raise BackendError(
                                f"the server at {self._place} sends an answer of more than {LONGEST_BODY >> 20} MiB"
                            )
        except (TimeoutError, openai.APITimeoutError):
            raise _Passing(f"did not answer within {self._options.timeout:g} s") from None
        except openai.APIStatusError as error:
            self._status(error)
        except (BackendError, TypeError, AttributeError):  # the last two are bugs in this program
            raise
        except Exception as error:  # of the client, httpx or httpx2
            if begun:
                raise _Passing("sends an answer that is not JSON, or is cut short") from None
            raise self._unreachable(error) from None
        return bytes(raw)

    def _read(self, raw: bytes, request: Request, call: Call) -> Answer:
        """The answer in the body of a response, with the key removed; the call's tokens are booked."""
        try:
            said = json.loads(raw)
        except (ValueError, RecursionError):
            if raw.lstrip().startswith(b"data:"):
                raise BackendError(
                    f'the server at {self._place} streams without being asked to; `extra={{"stream": false}}` tells it'
                ) from None
            text = self._shown(raw) if raw.lstrip().startswith(b"<") else ""
            raise _Passing(f"sends an answer that is not JSON, or is cut short{text}") from None
        error = completion.error_in(said)
        if error is not None:
            status, words = error
            words = self._redacted(words)
            if status in PASSING and "insufficient_quota" not in words:
                raise _Passing(f"answers 200 with an error{_in_brackets(f'{status} {words}')}")
            raise Refused(status if status else 200, words)
        answer = completion.read(said, request.sampling.max_tokens)
        used = completion.usage(said)
        if answer is not None or used is not None:
            call.book(used, request.size, 0 if answer is None else len(answer.text))
        if answer is None:
            raise _Passing(f"sends an answer without choices[0].message.content{self._shown(raw)}")
        text = final(answer.text)  # before truncation, because the reasoning comes first and can be long
        fault = completion.REASONING if answer.text.strip() and not text else answer.fault
        answer = Answer(self._redacted(text)[:LONGEST_TEXT], fault, self._redacted(answer.detail))
        if answer.fault == completion.EMPTY:
            raise _Passing("sends an empty answer", wait=0.0, answer=answer)
        if answer.fault == completion.BROKEN:
            raise _Passing("breaks off its answer", answer=answer)
        return answer

    # Failures, each as one sentence

    def _status(self, error: openai.APIStatusError) -> None:
        """Raises the exception for a status other than 200."""
        response, status = error.response, error.status_code
        words = self._redacted(completion.words_of(response.content))
        if status in PASSING and "insufficient_quota" not in words:
            raise _Passing(f"answers {status}{_in_brackets(words)}", _wait(response.headers.get("retry-after")))
        moved = urllib.parse.urlsplit(str(response.url))
        if response.history and moved.netloc:
            target = urllib.parse.urlunsplit((moved.scheme, moved.netloc, moved.path, "", ""))
            words = f"redirected to {_without_secrets(target)}, which `base_url` should name; {words}".rstrip("; ")
        raise Refused(status, words)

    def _for_person(self, refused: Refused, body: dict[str, Any]) -> BackendError:
        """The error for a refused request: one sentence with the server's message and what would help."""
        status, said = refused.status, _in_brackets(refused.words)
        if status in (401, 403):
            has = "holds a key that it does not take" if self._key else "is not set"
            return BackendError(
                f"the server at {self._place} answers {status}: the environment variable {KEY} {has}{said}"
            )
        if status == 404:
            return BackendError(
                f"the server at {self._place} answers 404: it has no model {self._model!r}, or `base_url` lacks /v1"
                f"{said}"
            )
        if status == 200:
            return BackendError(f"the server at {self._place} answers 200 with an error{said}")
        if status in (400, 422):
            help_ = completion.advice(refused.words, body)
            return BackendError(
                f"the server at {self._place} answers {status}, it does not take the request{said}{help_}"
            )
        return BackendError(f"the server at {self._place} answers {status}{said}")

    def _unreachable(self, error: BaseException) -> Exception:
        """The exception for an error before the response started."""
        chain = list(_causes(error))
        asked = next((url for url in map(_url_of, chain[1:]) if url), "")
        moved = urllib.parse.urlsplit(asked)
        elsewhere = moved.netloc and moved.netloc != urllib.parse.urlsplit(self._place).netloc
        target = f" (redirected to {moved.scheme}://{_without_secrets(moved.netloc)})" if elsewhere else ""
        for cause in chain:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return BackendError(
                    f"the server at {self._place} shows no valid certificate: {cause.verify_message}{target}"
                )
            if isinstance(cause, UnicodeError):  # not a possible host name
                return BackendError(f"`base_url` must name a server, not {self._place!r}")
        for cause in chain:
            if isinstance(cause, ConnectionRefusedError) or type(cause).__name__ in ("gaierror", "ConnectError"):
                return _Passing(f"cannot be reached: {self._redacted(_reason(chain))}{target}")
        inner = chain[1] if len(chain) > 1 else error
        kind = type(inner).__name__
        if kind == "ProxyError":
            return BackendError(f"the proxy on the way to {self._place} refuses: {_without_secrets(str(inner))[:200]}")
        if kind in ("TooManyRedirects", "UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
            return BackendError(f"the server at {self._place} cannot be asked ({kind}){target}")
        return _Passing(f"breaks the connection ({kind}){target}")

    def _shown(self, raw: bytes) -> str:
        return _in_brackets(self._redacted(completion.words_of(raw)))

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _address(base: str) -> str:
    """A server's address for the client: checked, without surrounding spaces and without a slash at the end.

    Raises:
        BackendError: it is not an address, or may contain a secret.
    """
    base = base.strip()
    url = urllib.parse.urlsplit(base)
    try:
        port = url.port
    except ValueError:
        port = -1
    good = url.scheme in ("http", "https") and url.hostname and port != -1
    if not good or any(letter.isspace() for letter in url.netloc):
        raise BackendError(f"`base_url` must be like http://127.0.0.1:8080/v1, not {_without_secrets(base)!r}")
    if url.username or url.password or url.query:
        raise BackendError(f"`base_url` must hold no user, password or query; put the key into {KEY}")
    path = url.path.rstrip("/").removesuffix("/chat/completions")  # many pages show the full address
    return urllib.parse.urlunsplit((url.scheme, url.netloc, path, "", ""))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes, with exception groups expanded."""
    seen = 0
    while error is not None and seen < 20:
        seen += 1
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error = error.__cause__ or error.__context__


def _reason(chain: Sequence[BaseException]) -> str:
    """The operating system's reason for a failed connection."""
    for error in reversed(chain):
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # negative for name look-ups
    return str(chain[-1])


def _url_of(error: Any) -> str:
    """The address of the failed request, which may come from a redirect; "" if the exception does not have it."""
    try:
        return str(error.request.url)
    except (AttributeError, RuntimeError):  # httpx raises RuntimeError if it was not set
        return ""


def _wait(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for; the header is a number or a date."""
    if header is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return None


def _in_brackets(words: str) -> str:
    """A server's message as one short line in brackets; "" without a message."""
    line = "".join(letter for letter in " ".join(words.split()) if letter.isprintable())[:200]
    return f" ({line})" if line else ""


def _without_secrets(url: str) -> str:
    """A URL that can be shown: without the part before an @."""
    return url.rsplit("@", 1)[-1]
