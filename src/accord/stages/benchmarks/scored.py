"""The model that is evaluated, as a reward: a reward model, or what a policy's training implies."""

import torch
from transformers import AutoConfig

from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.core.interfaces import Reward
from accord.corpora.encoding import ChatEncoder
from accord.models.heads import is_reward_model
from accord.models.loading import load_policy, load_tokenizer, within_context
from accord.rewards.implicit import ImplicitReward
from accord.rewards.learned import LearnedReward
from accord.stages.benchmarks.config import Config


def scored_reward(config: Config) -> Reward:
    """Scores of responses by `model_name_or_path`.

    A policy's are those of DPO, the log-ratio to its reference; how they rank responses to one
    prompt does not depend on the beta of the training.

    Raises:
        ConfigError: a policy comes without a reference, or with one of another vocabulary.
    """
    model, device = config.model_name_or_path, default_device()
    described = AutoConfig.from_pretrained(model)
    longest = within_context(config.max_length, described)
    if is_reward_model(model):
        return LearnedReward(model, device=device, max_length=longest)
    if config.reference is None:
        raise ConfigError(
            f"benchmark: reward_bench scores by a reward model, and {model} is a policy; give "
            "reference, the model it started from, for the reward that its training implies"
        )
    encoder, other = (ChatEncoder(load_tokenizer(name)) for name in (model, config.reference))
    if encoder.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        raise ConfigError(f"benchmark: {config.reference} has another vocabulary than {model}")
    policy, reference = (load_policy(name, device=device) for name in (model, config.reference))
    with torch.no_grad():
        return ImplicitReward(
            policy, reference, encoder, beta=1.0, device=device, max_length=longest
        )
