"""Any server that speaks OpenAI's chat API: a hosted one, llama.cpp's, vLLM's, Ollama's, `transformers serve`.

Host module; needs no library beyond Python's own. One request an answer, several under way at a time. A request that
fails for a passing reason (no connection, a time-out, 408, 409, 425, 429, 5xx, an answer cut short) is sent again, at
most `retries` times, after the wait the server asks for (Retry-After) or a doubling one; everything has a time limit.

The key is read from OPENAI_API_KEY, goes into the Authorization header and nowhere else: what a server says is shown
and kept only with the key struck out.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import queue
import random
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from l4t_jax.teacher.backends import BackendError, Options, Request

OPENAI = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
LONGEST_BODY = 8 << 20  # bytes; a chat answer has some hundreds
LONGEST_TEXT = 65_536  # characters of an answer that are kept
LONGEST_WAIT = 60.0  # seconds waited before a further try, whatever the server asks for
PASSING = frozenset({408, 409, 425, 429, *range(500, 600)})


class _Passing(Exception):
    """A request failed, and may go well when sent again.

    Args:
        reason: for a person.
        wait: seconds that the server asks to wait; None if it does not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class OpenAIBackend:
    """A chat model behind a server.

    Args:
        model: as the server names it.
        options: `base_url`, `timeout`, `retries`, `concurrency` and `extra` are used.
    """

    scores = False
    constrains = True

    def __init__(self, model: str, options: Options) -> None:
        base = options.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
        url = urllib.parse.urlsplit(base)
        try:
            port = url.port
        except ValueError:
            port = -1
        if url.scheme not in ("http", "https") or not url.hostname or port == -1:
            raise BackendError(f"--base-url must be like http://127.0.0.1:8080/v1, not {_without_secrets(base)!r}")
        if url.username or url.password or url.query:
            raise BackendError(f"--base-url must hold no user, password or query; put the key into {KEY}")
        if not (0 < options.timeout <= 3600):
            raise BackendError(f"--timeout must be above 0 and at most 3600 seconds, not {options.timeout:g}")
        if not (0 <= options.retries <= 20 and 1 <= options.concurrency <= 256):
            raise BackendError("--retries must be from 0 to 20 and --concurrency from 1 to 256")
        self._url, self._model, self._options = url, model, options
        self._key = os.environ.get(KEY, "").strip()
        if base == OPENAI and not self._key:
            raise BackendError(
                f"OpenAI's server needs a key in the environment variable {KEY}; --base-url names another"
            )
        if any(not " " < letter < "\x7f" for letter in self._key):
            raise BackendError(f"the environment variable {KEY} holds letters that no key has")
        if self._key and any(self._key in text for text in (model, base, json.dumps(options.extra))):
            raise BackendError(f"--teacher, --base-url and --extra must not hold the key; {KEY} is the place for it")
        self._place = urllib.parse.urlunsplit((url.scheme, url.netloc, url.path.rstrip("/"), "", ""))
        self.identity: dict[str, Any] = {"backend": "openai", "model": model, "server": self._place}
        if options.extra:
            self.identity["extra"] = options.extra

    # Asking

    def score(self, request: Request, texts: Sequence[str]) -> list[float]:
        raise BackendError("an OpenAI-compatible server tells no likelihoods of given texts; use --ask sample")

    def sample(self, request: Request, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        """Answers as they come. The first failure ends it; requests under way are still waited for, and kept."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in numbers:
            waiting.put(number)
        done: queue.SimpleQueue[tuple[int, str | BaseException] | None] = queue.SimpleQueue()
        stop = threading.Event()

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while not stop.is_set():
                    number = waiting.get_nowait()
                    try:
                        done.put((number, self._answer(request, number, stop)))
                    except BaseException as error:
                        stop.set()
                        done.put((number, error))
            done.put(None)

        threads = [
            threading.Thread(target=work, daemon=True, name=f"openai-{i}")
            for i in range(min(self._options.concurrency, len(numbers)))
        ]
        for thread in threads:
            thread.start()
        failure: BaseException | None = None
        working = len(threads)
        try:
            while working:
                finished = done.get()
                if finished is None:
                    working -= 1
                elif isinstance(finished[1], str):
                    yield finished[0], finished[1]
                else:
                    failure = failure or finished[1]
        finally:
            stop.set()
        if failure is not None:
            raise failure

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
        return body | self._options.extra

    def _answer(self, request: Request, number: int, stop: threading.Event) -> str:
        """One answer; sends again what fails for a passing reason."""
        body = json.dumps(self._body(request, number)).encode()
        for attempt in range(self._options.retries + 1):
            try:
                return self._text(self._send(body))
            except _Passing as error:
                if attempt == self._options.retries or stop.is_set():
                    tries = "once" if attempt == 0 else f"{attempt + 1} times"
                    raise BackendError(f"the server at {self._place} {error} (asked {tries})") from None
                backoff = min(LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.75, 1.25)
                stop.wait(backoff if error.wait is None else min(LONGEST_WAIT, error.wait))
        raise AssertionError("unreachable")

    def _text(self, raw: bytes) -> str:
        """The text in a server's answer; "" where the model said nothing."""
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            raise _Passing("sends an answer that is not JSON, or is cut short") from None
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise _Passing("sends an answer without choices[0].message.content") from None
        return self._redacted(text[:LONGEST_TEXT]) if isinstance(text, str) else ""

    # One request

    def _send(self, body: bytes) -> bytes:
        """Sends one request and returns the body of its answer, within the time limit.

        Raises:
            _Passing: it may go well when sent again.
            BackendError: it will not.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "l4t-jax"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        limit = self._options.timeout
        connection = self._connect(limit)
        late = threading.Event()
        sockets: list[socket.socket] = []  # kept here: the connection lets go of its own before the body is read

        def give_up() -> None:  # a limit for the whole request: those of sockets are for each read
            late.set()
            for open_socket in sockets:
                with contextlib.suppress(OSError):
                    open_socket.shutdown(socket.SHUT_RDWR)

        watch = threading.Timer(limit, give_up)
        watch.daemon = True
        watch.start()
        try:
            connection.connect()
            sockets.append(connection.sock)
            if late.is_set():
                raise TimeoutError
            connection.request("POST", f"{self._url.path.rstrip('/')}/chat/completions", body, headers)
            response = connection.getresponse()
            raw = response.read(LONGEST_BODY + 1)
            if late.is_set():
                raise TimeoutError
        except TimeoutError:
            raise _Passing(f"did not answer within {limit:g} s") from None
        except (ConnectionRefusedError, socket.gaierror) as error:
            raise _Passing(f"cannot be reached: {error.strerror or error}") from None
        except UnicodeError:  # a name that no address can have
            raise BackendError(f"--base-url must name a server, not {self._url.hostname!r}") from None
        except ssl.SSLCertVerificationError as error:
            raise BackendError(
                f"the server at {self._place} shows no valid certificate: {error.verify_message}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise _Passing(f"did not answer within {limit:g} s") from None
            raise _Passing(f"breaks the connection ({type(error).__name__})") from None
        finally:
            watch.cancel()
            connection.close()
            for open_socket in sockets:
                open_socket.close()
        if len(raw) > LONGEST_BODY:
            raise BackendError(f"the server at {self._place} sends an answer of more than {LONGEST_BODY >> 20} MiB")
        if response.status == 200:
            return raw
        self._refused(response, raw)
        raise AssertionError("unreachable")

    def _refused(self, response: http.client.HTTPResponse, raw: bytes) -> None:
        """Raises what an answer other than 200 calls for."""
        status, said = response.status, self._said(raw)
        if status in (401, 403):
            has = "holds a key that it does not take" if self._key else "is not set"
            raise BackendError(
                f"the server at {self._place} answers {status}: the environment variable {KEY} {has}{said}"
            )
        if status == 404:
            raise BackendError(
                f"the server at {self._place} answers 404: it has no model {self._model!r}, or --base-url lacks /v1"
                f"{said}"
            )
        if status in PASSING and "insufficient_quota" not in said:
            raise _Passing(f"answers {status}{said}", _wait(response.getheader("Retry-After")))
        if status in (400, 422):
            raise BackendError(
                f"the server at {self._place} answers {status}, it does not take the request{said}; a server that "
                "cannot keep to a JSON schema needs --constrain off"
            )
        raise BackendError(f"the server at {self._place} answers {status}{said}")

    def _said(self, raw: bytes) -> str:
        """The message in an error's body, in brackets, in one short line and without the key."""
        text = self._redacted(raw.decode("utf-8", "replace"))[:4096]  # cut only then: half a key would be left
        with contextlib.suppress(ValueError, RecursionError):
            parsed = json.loads(raw[:65_536])
            inner = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
            if isinstance(inner, dict):
                text = " ".join(str(inner[name]) for name in ("code", "message") if inner.get(name))
            else:
                text = str(inner)
        line = " ".join(self._redacted(text).split())
        line = "".join(letter for letter in line if letter.isprintable())[:200]
        return f" ({line})" if line else ""

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _connect(self, limit: float) -> http.client.HTTPConnection:
        """A connection to the server, through the proxy that the environment names."""
        url = self._url
        assert url.hostname is not None
        proxies = {} if urllib.request.proxy_bypass(url.hostname) else urllib.request.getproxies()
        proxy = urllib.parse.urlsplit(proxies.get("https", "")) if url.scheme == "https" else None
        if proxy is not None and proxy.hostname:
            connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, timeout=limit)
            connection.set_tunnel(url.hostname, url.port or 443)
            return connection
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        return kind(url.hostname, url.port, timeout=limit)


def _wait(header: str | None) -> float | None:
    """The seconds that a Retry-After header asks for: a number of them, or a date."""
    if header is None:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(header))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    return None


def _without_secrets(url: str) -> str:
    """A URL as it may be shown: without what stands before an @."""
    return url.rsplit("@", 1)[-1]
