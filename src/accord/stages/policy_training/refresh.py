"""A reward model that keeps up with its policy: fresh pairs are judged, and it learns from them.

A policy moves to responses that its reward model has seen nothing like, and there it is wrong in
the policy's favour (Gao et al. 2023, arXiv:2210.10760); new comparisons of the policy's own
responses bring it back (Bai et al. 2022, arXiv:2204.05862, section 4.5).
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accord.core import files, processes
from accord.core.errors import ConfigError
from accord.core.interfaces import Engine, Reward
from accord.core.run_dir import RunDir
from accord.core.train_config import TrainConfig
from accord.core.types import Comparison, PromptRow
from accord.corpora.pairs import encode_pairs, load_comparisons, split_by_prompt
from accord.models.heads import save_scored_model
from accord.models.sharding import unsharded
from accord.objectives.bradley_terry import bradley_terry_loss
from accord.rewards.learned import LearnedReward
from accord.rewards.mixed import MixedReward
from accord.stages.policy_training.fresh_pairs import (
    configured_votes,
    fresh_comparisons,
    to_row,
)
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.progress import Progress
from accord.stages.policy_training.watch import Watch
from accord.training.batches import micro_batches, rows_at, steps_per_epoch
from accord.training.fitting import fit_to_minimum
from accord.training.pair_batches import pair_batch, pair_readings

HELD_OUT = 0.2
"""Of a refresh's pairs, by prompt: their loss picks the moment that is kept."""
_BATCH = 16


class Refresh:
    """Trains a loop's reward model further, in place, every `refresh_steps` updates.

    What it did is in `progress.refreshes` (so in checkpoints), in the metrics and in the run's
    manifest; the judged pairs are in `refresh-N.jsonl`, N being the updates done.
    """

    def __init__(
        self,
        config: OnlineConfig,
        reward: Reward,
        policy: Policy,
        rows: Sequence[PromptRow],
        run_dir: RunDir,
    ) -> None:
        """Find the model, the judge and the old pairs.

        Args:
            reward: of the loop.
            rows: prompts that the loop learns on.

        Raises:
            ConfigError: the model has several heads, or the judge's name leads to nothing.
        """
        self.config, self.policy, self.rows, self.run_dir = config, policy, rows, run_dir
        self.learned: LearnedReward | None = None
        if not config.refresh_steps:
            return
        self.learned = _learned_in(reward)
        if self.learned.heads is not None and self.learned.heads.layout.rows > 1:
            raise ConfigError(
                f"{self.learned.name}: has several heads, and only one can be refreshed; train it "
                "without attributes, members and disentangle_length"
            )
        # A head's copy beside the model would stay as it was.
        self.learned.heads = None
        self._votes = configured_votes(config)
        self._old = load_comparisons(config.refresh_comparisons)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint has to keep beside the policy."""
        return {} if self.learned is None else {"reward": self.learned.model}

    def when_due(self, engine: Engine, progress: Progress, watch: Watch) -> dict[str, float]:
        """Refresh, if it is time: call it before each update's rollouts.

        Returns:
            metrics, empty when it is not time.

        Raises:
            Interrupted: it was asked to stop; the same command goes on from the last checkpoint.
        """
        config, update = self.config, progress.done
        if self.learned is None or not update or update % config.refresh_steps:
            return {}
        judged = fresh_comparisons(engine, self.policy, self.rows, self._votes, config, update)
        encode = self.learned.encoder.encode_response
        fresh = [pair for pair in judged if encode(pair.chosen) != encode(pair.rejected)]
        path = self.run_dir.path / f"refresh-{update}.jsonl"
        # Comparisons in files have no empty responses: these train here, and are never old pairs.
        whole = [pair for pair in fresh if pair.chosen.strip() and pair.rejected.strip()]
        files.write_jsonl(path, [to_row(pair, votes=self._votes.count) for pair in whole])
        found: dict[str, Any] = {"update": update, "pairs": len(fresh), "old_pairs": 0}
        if len(fresh) >= 2:
            old = self._drawn([*self._old, *self._earlier(progress)], len(fresh), update)
            with unsharded():  # the reward model is whole on every process
                found |= {"old_pairs": len(old), **self._learn(fresh, old, update)}
            watch.score_again()
        found |= {"judged_by": self._votes.name, "model_sha256": weights_sha256(self.learned.model)}
        progress.refreshes.append(found)
        self._note(progress)
        return {
            f"refresh/{name}": float(value)
            for name, value in found.items()
            if isinstance(value, int | float) and name != "update"
        }

    def finish(self, progress: Progress) -> None:
        """Save the refreshed reward model, a Hugging Face directory, under `reward/`."""
        if self.learned is None or not progress.refreshes:
            return
        self._note(progress)
        prompts = [Comparison(row.prompt, "yes", "no") for row in self.rows[:4]]
        encoder = self.learned.encoder
        pairs = encode_pairs(prompts, encoder, max_length=self.learned.max_length)
        save_scored_model(
            self.learned.model,
            encoder.tokenizer,
            self.run_dir.path / "reward",
            sample=pair_batch(pairs, range(len(prompts)), encoder).tokens,
        )

    def _note(self, progress: Progress) -> None:
        manifest = self.run_dir.read_json("manifest.json")
        if manifest is not None:
            noted = {**manifest, "refreshes": progress.refreshes}
            self.run_dir.write_json("manifest.json", noted)

    def _earlier(self, progress: Progress) -> list[Comparison]:
        """The pairs of this run's refreshes before."""
        paths = [self.run_dir.path / f"refresh-{r['update']}.jsonl" for r in progress.refreshes]
        return load_comparisons([str(path) for path in paths if path.stat().st_size])

    def _drawn(self, old: Sequence[Comparison], count: int, update: int) -> list[Comparison]:
        if not old:
            return []
        places = rows_at(len(old), 0, size=min(count, len(old)), seed=self.config.seed + update)
        return [old[place] for place in places]

    def _learn(
        self, fresh: Sequence[Comparison], old: Sequence[Comparison], update: int
    ) -> dict[str, float]:
        """Fit to the minimum of the held-out loss; what share of the fresh pairs among those held
        out is ranked as judged.
        """
        assert self.learned is not None
        model, encoder = self.learned.model, self.learned.encoder
        both = [*fresh, *old]
        pairs = encode_pairs(both, encoder, max_length=self.learned.max_length)
        p_chosen = torch.tensor([c.p_chosen for c in both])
        kept, held = split_by_prompt([c.prompt for c in both], fraction=HELD_OUT, seed=update)
        kept, held = (kept, held) if kept and held else (list(range(len(both))),) * 2
        lengths = [pairs.lengths[i] for i in kept]
        # The others are ranked right afterwards by whatever can learn them by heart.
        unseen = [i for i in held if i < len(fresh) and p_chosen[i] != 0.5]
        unseen = unseen or list(range(len(fresh)))
        config = self._train_config(len(kept))

        def measure(rows: Sequence[int]) -> dict[str, float]:
            totals = {"loss": 0.0, "right": 0.0, "decided": 0.0}
            budget = config.tokens_per_micro_batch // 2
            for piece in micro_batches(rows, pairs.lengths, token_budget=budget):
                readings = pair_readings(model, pairs, piece, encoder, bf16=config.bf16)
                _add_figures(totals, readings[..., 0], p_chosen[piece], len(rows))
            totals = processes.summed(totals)
            accuracy = totals["right"] / max(totals["decided"], 1.0)
            return {"loss": totals["loss"], "accuracy": accuracy}

        with torch.no_grad():
            before = measure(unseen)["accuracy"]
        loss, _ = fit_to_minimum(
            model,
            config,
            RunDir(self.run_dir.path / f"refresh-{update}"),
            name="refreshing the reward model",
            lengths=lengths,
            learn=lambda rows: measure([kept[row] for row in rows]),
            validate=lambda: measure(held),
            shown=("loss", "accuracy"),
        )
        with torch.no_grad():
            after = measure(unseen)["accuracy"]
        return {"accuracy_before": before, "accuracy_after": after, "heldout_loss": loss}

    def _train_config(self, pairs: int) -> TrainConfig:
        config = self.config
        made = TrainConfig(
            model_name_or_path=config.reward_model_name_or_path[0],
            learning_rate=config.refresh_learning_rate,
            per_device_train_batch_size=_BATCH,
            tokens_per_micro_batch=config.tokens_per_micro_batch,
            num_train_epochs=config.refresh_epochs,
            warmup_steps=0,
            bf16=config.bf16,
            seed=config.seed,
        )
        return made.model_copy(update={"eval_steps": max(1, steps_per_epoch(pairs, made) // 2)})


def _learned_in(reward: Reward) -> LearnedReward:
    """The reward model, alone or beside functions.

    Raises:
        ConfigError: it scores steps.
    """
    parts = list(reward.rewards.values()) if isinstance(reward, MixedReward) else [reward]
    for part in parts:
        if isinstance(part, LearnedReward):
            return part
    raise ConfigError("refresh_steps: a reward model that scores steps cannot be refreshed")


def _add_figures(totals: dict[str, float], scores: Tensor, p_chosen: Tensor, count: int) -> None:
    """A piece's share of the loss, whose gradient is left where gradients are on."""
    out = bradley_terry_loss(*scores, p_chosen=p_chosen.to(scores.device), denominator=float(count))
    if out.loss.requires_grad:
        out.loss.backward()  # type: ignore[no-untyped-call]
    decided = int((p_chosen != 0.5).sum())
    totals["loss"] += out.loss.item()
    if decided:
        totals["right"] += out.accuracy.item() * decided
        totals["decided"] += decided


def weights_sha256(model: nn.Module) -> str:
    """Names a state of a model's weights: the hash of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
