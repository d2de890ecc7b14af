"""What navix imports for its own agents stays out of the way, and is there when somebody uses it."""

import subprocess
import sys

import pytest

HEAVY = ("distrax", "rlax", "tensorflow_probability", "wandb", "matplotlib.pyplot")


def printed(program: str) -> list[str]:
    """The lines that a fresh Python prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_run_is_ready_without_what_navix_needs_for_its_own_agents() -> None:
    lines = printed(f"import sys, l4t_jax.api, navix; print([name for name in {HEAVY} if name in sys.modules])")
    assert lines == ["[]"]


PPO = """
import jax, l4t_jax.api, navix
from navix.agents.models import ActorCritic
env = navix.make("Navix-Empty-5x5-v0")
network = ActorCritic(action_dim=len(env.action_set))
seen = env.reset(jax.random.key(0)).observation.astype("float32").reshape(-1)
(_, (policy, value)), _ = network.init_with_output(jax.random.key(1), (), seen, jax.numpy.bool_(True))
import distrax
print(isinstance(policy, distrax.Categorical), policy.logits.shape[-1] == len(env.action_set))
"""


@pytest.mark.parametrize("program", ["import l4t_jax.api, navix", "import navix, l4t_jax.api"])
def test_others_get_the_true_modules(program: str) -> None:
    program += "; import wandb, matplotlib.pyplot as plt; print(wandb.init.__module__, plt.subplots.__module__)"
    program += "; print(navix.experiment.wandb.Settings is wandb.Settings)"
    lines = printed(program)
    assert lines[0].startswith("wandb.") and lines[0].endswith("matplotlib.pyplot") and lines[1] == "True"


def test_agents_of_navix_work_after_all() -> None:
    assert printed(PPO) == ["True True"]
