"""What a command answers in one sentence: every such error of the package, and the near names that it offers.

The lowest module: imports nothing of the package, and anything may import it. Any other exception is a bug, and a
command shows its traceback.
"""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Iterable, Sequence


class Refusal(Exception):
    """Base of the errors whose message is one sentence that says what is wrong and what would be right."""


class ConfigError(Refusal, ValueError):
    """A setting is wrong; the message says what would be right."""


class OptionError(Refusal, ValueError):
    """A mistake on the command line; the message says what would be right."""


class TooLarge(ConfigError):
    """The run does not fit into the device's memory; the message says what it needs and what is free."""


class UnknownTask(Refusal, ValueError):
    """No task has that name; the message gives the near matches."""


class RunFolderError(Refusal, ValueError):
    """A folder cannot be a run folder, or is none; the message says why."""


class CheckpointError(Refusal, ValueError):
    """A checkpoint is missing, cannot be written, or is not this run's; the message says which."""


class CannotWrite(CheckpointError):
    """A checkpoint cannot be written; the message says why, and which one is whole."""


class Diverged(Refusal, ValueError):
    """A number of the training is not finite; the message says at which update, and where the last good state is."""


class WandbError(Refusal, ValueError):
    """Weights & Biases cannot be reached or used; the message says why and what would do."""


class TeacherFileError(Refusal, ValueError):
    """A teacher file cannot be read or does not fit the task; the message says what is wrong and what would do."""


class LevelFileError(Refusal, ValueError):
    """A level file cannot be read or written, or does not fit the task; the message says what is wrong."""


class TooManyStates(Refusal, ValueError):
    """The symbolic states of a task are too many to ask for all of them; the message says what can be done."""


class PromptError(Refusal, ValueError):
    """A prompt file cannot be used; the message says why."""


class BackendError(Refusal, RuntimeError):
    """A backend cannot be used or does not answer; the message is one sentence that says what would help."""


class BudgetSpent(BackendError):
    """The next call could pass a limit on calls or dollars, so it was not made; the message says which limit."""


class NoPlans(BackendError):
    """Not one answer holds a plan, so there is no teacher to make of them; the message says what the answers were."""


class CacheError(Refusal, OSError):
    """Answers cannot be kept; the message says where and why."""


class Interrupted(KeyboardInterrupt):
    """The run was stopped by Ctrl-C or SIGTERM; the message says how to go on.

    Args:
        words: the message.
        number: the signal's; a process that ends by it exits with 128 and this (`code`).
    """

    def __init__(self, words: str, number: int = signal.SIGINT) -> None:
        super().__init__(words)
        self.code = 128 + number


class DamagedCheckpoint(UserWarning):
    """A checkpoint is damaged, and the one before it is used; the message names both."""


class CannotImport(ConfigError):
    """An environment of the user's cannot be brought in; the message says what no rule here does."""


class ExtensionError(ConfigError):
    """A user's extension cannot be loaded, or is not the one that a run was made with; the message says why."""


class ChangedExtension(UserWarning):
    """An extension is not the one that a run was made with, and is loaded all the same; the message names it."""


class NavixName(UserWarning):
    """A task was named by navix's id; the message says which task of MiniGrid's runs."""


def near(name: str, known: Iterable[str], most: int = 3, alike: float = 0.5) -> list[str]:
    """The known names nearest to one that is not known, the nearest first, each in its own spelling.

    Capitals do not count.

    Args:
        name: as the user wrote it.
        known: the names that there are.
        most: how many are given at most.
        alike: how like a name must be, from 0 (any will do) to 1 (the same letters), by `difflib`'s ratio. Long names
            that share a beginning and an end need more, few short ones less.
    """
    spelled = {one.lower(): one for one in known}
    return [spelled[one] for one in difflib.get_close_matches(name.lower(), spelled, n=most, cutoff=alike)]


def either(names: Sequence[str]) -> str:
    """ "A, B or C"; a single name alone, and nothing of none."""
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)


def did_you_mean(name: str, known: Iterable[str], otherwise: str, most: int = 3, alike: float = 0.5) -> str:
    """ "did you mean A, B or C?" of the near names, as `near` finds them, or `otherwise` if there are none."""
    found = near(name, known, most, alike)
    return f"did you mean {either(found)}?" if found else otherwise


def takes(value: str, choices: Sequence[str]) -> str:
    """What a setting of a few choices takes, the nearest one first: "did you mean A? It takes A, B or C"."""
    found = near(value, choices, most=1)
    return f"did you mean {found[0]}? It takes {either(choices)}" if found else f"it takes {either(choices)}"


def missing_platform(error: BaseException) -> ConfigError | None:
    """The sentence for jax's error where a platform that was asked for is not there; None for any other error."""
    asked = os.environ.get("JAX_PLATFORMS", "")
    if not str(error).startswith("Unable to initialize backend"):
        if not (asked and type(error) is AssertionError and not error.args):
            return None
        import jax

        try:  # without a plugin for the platform, an assertion within jax fails
            jax.devices()
            return None
        except (RuntimeError, AssertionError):
            pass
    what = f"JAX_PLATFORMS={asked}" if asked else "an accelerator"
    return ConfigError(
        f"{what} cannot be used: this machine has no such device, or jax has no plugin for it; "
        "set JAX_PLATFORMS=cpu, or unset it to take what there is"
    )
