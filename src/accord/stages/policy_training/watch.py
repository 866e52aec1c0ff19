"""Held-out evaluations while a policy learns: what they measure, and what the monitors say."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from accord.core.episodes import Rollout
from accord.core.errors import ConfigError, TrainingError
from accord.core.interfaces import Engine, Reward
from accord.core.reward_config import RewardConfig
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow, Scores
from accord.monitors.brake import Brake, incident
from accord.monitors.observation import Observation, Reading, mean
from accord.monitors.scores import invariance
from accord.rewards.classifier import Classifier, ClassifierReward
from accord.rewards.mixed import load_reward
from accord.stages.policy_training.doubt import given_up
from accord.stages.policy_training.episodes import EpisodeReward, episode_scores
from accord.stages.policy_training.online_config import OnlineConfig
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.progress import Progress
from accord.stages.policy_training.rollouts import (
    collect_rollouts,
    encoded_prompts,
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
        self.policy, self.reward = policy, reward
        self.rows = [row for row in rows for _ in range(config.monitor_responses)]
        self.config, self.run_dir = config, run_dir
        self.progress, self.modules = progress, modules
        self.gold = _gold_scorer(config, policy)
        self.toxicity = _toxicity_scorer(config, policy)
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
        if config.ask_again and config.monitors != "off":
            encoder = self.policy.encoder
            given = given_up(engine, self.rows, rollouts, encoder, config, seed=seed + 1)
            now = replace(now, given_up=given)
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
        may_stop = config.monitors == "stop"
        is_best = self.brake.is_best() if self.gold else decision.is_clean
        self.progress.evaluated(
            metrics,
            self.modules,
            is_stopped=may_stop and decision.stops,
            is_kept=is_best if may_stop else None,
        )
        if self.brake.memory and self.progress.kept_figures and self.progress.kept_step == now.step:
            self.brake.memory.kept = now
        self.progress.watched = self.brake.state()
        readings = decision.readings
        if self.progress.done == 0:
            readings += self._refuse_a_reward_of_form(now, rollouts)
        if may_stop and decision.stops:
            self._report(now, readings, decision.reasons, self.progress.kept_step)
        metrics |= {f"monitor/{reading.name}": reading.value for reading in readings}
        return metrics | {"monitor/warnings": float(sum(r.level != "ok" for r in readings))}

    @torch.no_grad()
    def _observed(self, rollouts: Sequence[Rollout]) -> Observation:
        policy, encoder, config = self.policy, self.policy.encoder, self.config
        batch, logprobs = rollout_grid(rollouts, policy)
        reference = policy.reference_logprobs(batch)
        kl = ((logprobs - reference) * batch.target_mask).sum(1)
        gold = None
        if self.gold is not None:
            gold = list(score_rollouts(self.gold, self.rows, rollouts, encoder).values)
        found = Observation(
            step=self.progress.done,
            prompts=[_text(row) for row in self.rows],
            responses=[encoder.decode(rollout.chosen_ids) for rollout in rollouts],
            lengths=[len(rollout.chosen_ids) for rollout in rollouts],
            scores=(),
            kl_nats=kl.tolist(),
            # What the sampler gave each token it drew is an unbiased estimate of its entropy.
            entropies=[-sum(r.old_logprobs) / sum(r.response_mask) for r in rollouts],
            finished=[rollout.finished for rollout in rollouts],
            gold=gold,
            toxicity=self._toxicity(rollouts),
            response_ids=[list(rollout.chosen_ids) for rollout in rollouts],
            group_size=config.monitor_responses,
        )
        if isinstance(self.reward, EpisodeReward):
            return replace(found, scores=list(episode_scores(rollouts).values))
        return self._scored(found)

    def _toxicity(self, rollouts: Sequence[Rollout]) -> list[float] | None:
        """By the classifier, where there is one, of the responses alone."""
        if self.toxicity is None:
            return None
        texts = [self.policy.encoder.decode(rollout.chosen_ids) for rollout in rollouts]
        none: list[tuple[int, ...]] = [()] * len(texts)
        found = self.toxicity.score(
            [row.prompt for row in self.rows],
            texts,
            prompt_ids=none,
            response_ids=none,
            columns=[row.columns for row in self.rows],
        )
        return list(found.values)

    def _scored(self, observation: Observation) -> Observation:
        """With the scores of the reward as it is now."""
        places = list(range(len(self.rows)))
        prompt_ids = encoded_prompts(self.rows, self.policy.encoder, self.config)

        def score(prompts: Sequence[int]) -> Scores:
            """The responses, in order, as answers to the prompts at these places."""
            return self.reward.score(
                [self.rows[place].prompt for place in prompts],
                observation.responses,
                prompt_ids=[prompt_ids[place] for place in prompts],
                response_ids=observation.response_ids,
                columns=[self.rows[place].columns for place in prompts],
            )

        own, mismatched, group = score(places), None, self.config.monitor_responses
        if self.config.monitors != "off" and len(places) > group:
            # Each under the next prompt.
            mismatched = list(score([*places[group:], *places[:group]]).values)
        return replace(
            observation,
            scores=list(own.values),
            spreads=None if own.spread is None else list(own.spread),
            mismatched=mismatched,
        )

    def score_again(self) -> None:
        """Take note of another reward: what later evaluations are compared with is scored by it.

        So are the figures of the start and of the kept policy.
        """
        memory, progress = self.brake.memory, self.progress
        if memory is None:
            return
        is_first = memory.best.step == memory.start.step
        memory.start = self._scored(memory.start)
        memory.best = memory.start if is_first else self._scored(memory.best)
        progress.score_before = mean(memory.start.scores)
        if memory.kept:
            memory.kept = self._scored(memory.kept)
            progress.kept_figures[0] = mean(memory.kept.scores)
        progress.watched = self.brake.state()

    def _refuse_a_reward_of_form(
        self, now: Observation, rollouts: Sequence[Rollout]
    ) -> tuple[Reading, ...]:
        """The invariance of the reward, on probes that have room for what is added to them."""
        if isinstance(self.reward, EpisodeReward):
            return ()
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


def _toxicity_scorer(config: OnlineConfig, policy: Policy) -> Reward | None:
    """The classifier that a config names, if it names one.

    Raises:
        ConfigError: it has no such label.
    """
    model = config.toxicity_model_name_or_path
    if model is None or config.monitors == "off":
        return None
    classifier = Classifier(model, device=policy.device, max_length=config.max_length)
    return ClassifierReward(classifier, config.toxicity_label, alone=True)


def _text(row: PromptRow) -> str:
    return "\n".join(turn["content"] for turn in row.prompt)
