"""Held-out evaluations while a policy learns: what they measure, and what the monitors say."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from accord.core import processes
from accord.core.errors import ConfigError, TrainingError
from accord.core.interfaces import Engine, Reward
from accord.core.reward_config import RewardConfig
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow, Rollout
from accord.monitors.brake import Brake, incident
from accord.monitors.observation import Observation, Reading
from accord.monitors.scores import invariance
from accord.rewards.mixed import load_reward
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.progress import Progress
from accord.stages.policy_training.rollouts import (
    collect_rollouts,
    rollout_grid,
    score_rollouts,
)

INVARIANCE_PROBES = 32
"""Responses whose form is changed, once, before training."""


class Watch:
    """The probe prompts of a run, what is measured on them, and the brake."""

    def __init__(
        self,
        policy: Policy,
        reward: Reward,
        rows: Sequence[PromptRow],
        config: OnlineConfig,
        run_dir: RunDir,
        progress: Progress,
        modules: Mapping[str, nn.Module],
    ) -> None:
        self.policy, self.reward, self.rows = policy, reward, list(rows)
        self.config, self.run_dir = config, run_dir
        self.progress, self.modules = progress, modules
        self.gold = _gold_scorer(config, policy)
        self.brake = Brake(config)
        self.brake.restore(progress.watched)

    def evaluate(self, engine: Engine) -> dict[str, float]:
        """Respond to the probes, by the same sampling seeds at every call, and read the monitors.

        Returns:
            `heldout/` figures, and a `monitor/NAME` for each monitor that had something to read.

        Raises:
            TrainingError: before training, the reward pays for form, and `monitors` is stop.
        """
        config = self.config
        seed = 2**40 + config.seed  # far from those of training
        rollouts = collect_rollouts(engine, self.rows, self.policy.encoder, config, seed=seed)
        now = self._observed(rollouts)
        metrics = {
            "heldout/score": sum(now.scores) / len(now.scores),
            "heldout/kl_nats": sum(now.kl_nats) / len(now.kl_nats),
            "heldout/length": sum(now.lengths) / len(now.lengths),
            "heldout/stop_rate": sum(now.finished) / len(rollouts),
        }
        if now.gold is not None:
            metrics["heldout/gold"] = sum(now.gold) / len(now.gold)
        if config.monitors == "off":
            self.progress.evaluated(metrics, self.modules)
            return metrics
        decision = self.brake.read(now)
        self.progress.watched = self.brake.state()
        may_stop = config.monitors == "stop"
        is_best = self.brake.is_best() if self.gold else decision.is_clean
        self.progress.evaluated(
            metrics,
            self.modules,
            is_stopped=may_stop and decision.stops,
            is_kept=is_best if may_stop else None,
        )
        readings = decision.readings
        if self.progress.done == 0:
            readings += self._refuse_a_reward_of_form(now, rollouts)
        if may_stop and decision.stops:
            self._report(now, readings, decision.reasons, self.progress.kept_step)
        metrics |= {f"monitor/{reading.name}": reading.value for reading in readings}
        return metrics | {"monitor/warnings": float(sum(r.level != "ok" for r in readings))}

    @torch.no_grad()
    def _observed(self, rollouts: Sequence[Rollout]) -> Observation:
        policy, encoder = self.policy, self.policy.encoder
        scores = score_rollouts(self.reward, self.rows, rollouts, encoder)
        batch, logprobs = rollout_grid(rollouts, policy)
        reference = policy.reference_logprobs(batch)
        kl = ((logprobs - reference) * batch.target_mask).sum(1)
        gold = None
        if self.gold is not None:
            gold = list(score_rollouts(self.gold, self.rows, rollouts, encoder).values)
        return Observation(
            step=self.progress.done,
            prompts=[_text(row) for row in self.rows],
            responses=[encoder.decode(rollout.response_ids) for rollout in rollouts],
            lengths=[len(rollout.response_ids) for rollout in rollouts],
            scores=list(scores.values),
            kl_nats=kl.tolist(),
            # What the sampler gave each token it drew is an unbiased estimate of its entropy.
            entropies=[-sum(r.old_logprobs) / len(r.old_logprobs) for r in rollouts],
            finished=[rollout.finished for rollout in rollouts],
            gold=gold,
            spreads=None if scores.spread is None else list(scores.spread),
            mismatched=self._mismatched(rollouts),
        )

    def _mismatched(self, rollouts: Sequence[Rollout]) -> list[float] | None:
        """Scores of the responses, each under the next row's prompt."""
        if self.config.monitors == "off" or len(self.rows) < 2:
            return None
        rows = [*self.rows[1:], self.rows[0]]
        prompts = [r.prompt_ids for r in (*rollouts[1:], rollouts[0])]
        found = self.reward.score(
            [row.prompt for row in rows],
            [self.policy.encoder.decode(rollout.response_ids) for rollout in rollouts],
            prompt_ids=prompts,
            response_ids=[rollout.response_ids for rollout in rollouts],
            columns=[row.columns for row in rows],
        )
        return list(found.values)

    def _refuse_a_reward_of_form(
        self, now: Observation, rollouts: Sequence[Rollout]
    ) -> tuple[Reading, ...]:
        """The invariance of the reward, on probes that have room for what is added to them."""
        room = self.config.max_length - 64
        fit = [
            i
            for i, r in enumerate(rollouts)
            if now.responses[i].strip() and 2 * len(r.prompt_ids) + 4 * len(r.response_ids) <= room
        ][:INVARIANCE_PROBES]
        if len(fit) < 2:
            return ()
        rows = [self.rows[i] for i in fit]
        none: list[tuple[int, ...]] = [()] * len(fit)  # texts are encoded anew

        def score(texts: Sequence[str]) -> Sequence[float]:
            return self.reward.score(
                [row.prompt for row in rows],
                texts,
                prompt_ids=none,
                response_ids=none,
                columns=[row.columns for row in rows],
            ).values

        prompts, responses = [now.prompts[i] for i in fit], [now.responses[i] for i in fit]
        found = invariance(score, prompts, responses, self.config)
        reasons = tuple(r.reason for r in found if r.level == "stop")
        if reasons and self.config.monitors == "stop":
            path = self._report(now, found, reasons, None)
            raise TrainingError(
                f"the reward pays for form: {'; '.join(reasons)} (limit "
                f"{self.config.invariance_limits[1]:g}); nothing was trained. See {path}; train "
                "the reward on pairs that differ in it, or raise invariance_limits"
            )
        return found

    def _report(
        self,
        now: Observation,
        readings: tuple[Reading, ...],
        reasons: tuple[str, ...],
        back_to: int | None,
    ) -> str:
        name = f"incident-{now.step}.json"
        if processes.is_main():
            self.run_dir.write_json(name, incident(now, readings, reasons, back_to))
        return str(self.run_dir.path / name)


def _gold_scorer(config: OnlineConfig, policy: Policy) -> Reward | None:
    """What watches without being optimised, when there is one.

    Raises:
        ConfigError: it is optimised, too.
    """
    models, functions = config.gold_model_name_or_path, config.gold_funcs
    if not models and not functions:
        return None
    same = {*models, *functions} & {*config.reward_model_name_or_path, *config.reward_funcs}
    if same:
        raise ConfigError(
            f"{', '.join(sorted(same))}: a gold scorer that is also the reward would see nothing"
        )
    return load_reward(
        RewardConfig(reward_model_name_or_path=models, reward_funcs=functions),
        device=policy.device,
        max_length=config.max_length,
        policy_encoder=policy.encoder,
    )


def _text(row: PromptRow) -> str:
    return "\n".join(turn["content"] for turn in row.prompt)
