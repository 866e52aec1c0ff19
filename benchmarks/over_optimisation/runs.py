"""What the quickstart's curves are made of: its files, three rewards, PPO with and without a brake.

Everything is trained by the stages that ship, under the settings of the quickstart; what is left
out is PPO's KL penalty, and what is there in addition says `Settings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.pipeline import execute
from accord.wiring import stage_config

GOLD = "accord.corpora.sample_set:quality"
MAX_LENGTH, MAX_COMPLETION = 160, 40


@dataclass(frozen=True)
class Settings:
    """Sizes; the defaults are those of the figures in `docs/over-optimisation.md`."""

    updates: int = 45
    """of PPO"""
    eval_steps: int = 3
    """updates between two evaluations; the brake reads each, and each leaves a checkpoint"""
    batch: int = 64
    """rollouts an update"""
    probes: int = 128
    """held-out prompts that the brake watches"""
    members: int = 3
    """reward models of the ensemble, trained apart"""
    fresh: int = 512
    """prompts of another sample set, on which all policies are compared"""
    pool_prompts: int = 64
    """of them, those with a pool of responses"""
    pool: int = 1024
    """responses a prompt"""
    reward_steps: int = -1
    """optimizer steps of a reward model; -1 is the quickstart's one epoch"""


@dataclass(frozen=True)
class Quickstart:
    """A finished run of the quickstart."""

    path: Path
    seed: int

    @property
    def policy(self) -> str:
        """The SFT policy, where everything starts."""
        return str(self.path / "sft/model")

    def prompts(self, split: str) -> str:
        """File of a split's prompts."""
        return str(self.path / f"sample/prompts-{split}.jsonl")


@dataclass(frozen=True)
class Proxy:
    """A reward that is optimised: `fields` are those of `RewardConfig`."""

    name: str
    fields: Mapping[str, Any]


def proxies(quickstart: Quickstart, output: Path, settings: Settings) -> list[Proxy]:
    """The run's own reward model; an ensemble by its worst member, of which that is the first; and
    one that is disentangled from length. All learn from the same comparisons."""
    naive = str(quickstart.path / "reward/model")
    others = [
        _reward(quickstart, output / f"reward-{k}", settings, seed=quickstart.seed + 1000 * k)
        for k in range(1, settings.members)
    ]
    apart = _reward(
        quickstart, output / "reward-odin", settings, seed=quickstart.seed, disentangle_length=True
    )
    worst = {"reward_model_name_or_path": [naive, *others], "reward_ensemble": "worst"}
    return [
        Proxy("naive", {"reward_model_name_or_path": [naive]}),
        Proxy(f"ensemble, worst of {settings.members}", worst),
        Proxy("length-disentangled", {"reward_model_name_or_path": [apart]}),
    ]


def _reward(quickstart: Quickstart, path: Path, settings: Settings, **values: Any) -> str:
    comparisons = quickstart.path / "preferences"
    fields = {
        "model_name_or_path": quickstart.policy,
        "comparisons": [str(comparisons / "comparisons.jsonl")],
        "test_comparisons": str(comparisons / "heldout_comparisons.jsonl"),
        "learning_rate": 3e-4,
        "per_device_train_batch_size": 32,
        "num_train_epochs": 1,
        "max_steps": settings.reward_steps,
        "max_length": MAX_LENGTH,
        "bf16": True,
        "eval_steps": 40,
        **values,
    }
    execute("reward", stage_config("reward").parse(fields, where="benchmark"), path)
    return str(path / "model")


def train_ppo(
    quickstart: Quickstart, proxy: Proxy, path: Path, settings: Settings, *, has_brake: bool
) -> Path:
    """PPO without a KL penalty; with a brake, gold watches, and the best policy comes back.

    The check of the reward before training is lifted: it refuses these rewards outright, for what
    an echo of the question adds to them, and there would be nothing to brake.
    """
    fields = {
        "seed": quickstart.seed,
        "model_name_or_path": quickstart.policy,
        "prompts": quickstart.prompts("train"),
        "eval_prompts": quickstart.prompts("validation"),
        "max_eval_prompts": settings.probes,
        "learning_rate": 7e-5,
        "per_device_train_batch_size": settings.batch,
        "mini_batch_size": settings.batch // 2,
        "num_ppo_epochs": 2,
        "max_steps": settings.updates,
        "max_length": MAX_LENGTH,
        "max_completion_length": MAX_COMPLETION,
        "kl_coef": 0.0,
        "value_model": "shared",
        "value_warmup_steps": 2,
        "warmup_steps": 5,
        "eval_steps": settings.eval_steps,
        "save_steps": settings.eval_steps,
        "save_total_limit": settings.updates,
        "monitors": "off",
        **proxy.fields,
    }
    if has_brake:
        fields |= {"monitors": "stop", "gold_funcs": [GOLD], "invariance_limits": (9.0, 99.0)}
    execute("ppo", stage_config("ppo").parse(fields, where="benchmark"), path)
    return path
