"""An LLM backend: any program that reads a prompt and prints an answer, such as `ollama run llama3.2`.

    python -m l4t_jax.run --import docs/extending/own_backend.py --teacher "program:echo explore" --samples 1
    l4t_jax.train(imports="docs/extending/own_backend.py", teacher="program:echo explore", samples=1)

`echo explore` gives the same advice whatever it is asked. It shows that all works; put your own program in its place.
"""

import shlex
import subprocess

from l4t_jax.errors import BackendError
from l4t_jax.teacher.backends import register_backend


class Program:
    """Answers with what a program prints.

    Args:
        name: what follows the colon in `program:NAME`, here a command line.
        task: whose symbolic states are asked for.
        options: what the user says about a backend, such as `timeout` in seconds.
    """

    scores = False  # it cannot tell the likelihood of a given text; one that can has `score(request, texts)` too
    constrains = False  # it cannot keep its answers to `request.choices`

    def __init__(self, name, task, options):
        self.words, self.timeout = shlex.split(name), options.timeout
        # Answers are kept under this name: all that decides them, and no secrets.
        self.identity = {"backend": "program", "model": name}

    def sample(self, request, numbers):
        """Yields one answer for each number, in any order; a BackendError is shown to the user in one sentence."""
        prompt = "\n\n".join(f"{message['role']}: {message['content']}" for message in request.messages)
        for number in numbers:
            try:
                done = subprocess.run(
                    self.words, input=prompt, capture_output=True, text=True, timeout=self.timeout, check=True
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise BackendError(f"the program {self.words[0]} does not answer: {error}") from error
            yield number, done.stdout


register_backend("program", Program)
