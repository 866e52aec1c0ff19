"""Best-of-n, visibly: sample, score, keep the best of each prompt.

Sources: Stiennon et al. 2020, arXiv:2009.01325, appendix G.3 (the KL); Touvron et al. 2023,
arXiv:2307.09288, section 3.2.3 (rejection-sampling fine-tuning).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.device import default_device, seed_everything
from accord.core.errors import ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.interfaces import EngineFactory, Reward
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import GenerationResult, PromptRow, SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.corpora.prompts import load_prompts
from accord.engine.generate import generate
from accord.models.loading import load_policy, load_tokenizer, within_context
from accord.rewards.mixed import load_reward
from accord.stages.policy_training.best_of_n.config import Config

CHUNK_PROMPTS = 64


@dataclass(frozen=True)
class Result:
    """What the stage leaves; scores are means over prompts, in the reward's units.

    `kl_bound_nats` bounds the KL of "the best of n" to the policy: log n - (n - 1) / n.
    """

    demonstrations: Path
    prompts: int
    kept: int
    first_score: float
    best_score: float
    kl_bound_nats: float
    cut_prompts: int


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Write the best responses to `demonstrations.jsonl`: prompt, completion, score, all scores."""
    seed_everything(config.seed)
    device = default_device()
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    policy = load_policy(config.model_name_or_path, device=device)
    longest = within_context(config.max_length, policy.config)
    config = config.model_copy(update={"max_length": longest})
    reward = load_reward(
        config, device=device, max_length=config.max_length, policy_encoder=encoder
    )
    rows = load_prompts(config.prompts)
    rows = rows[: config.max_prompts] if config.max_prompts >= 0 else rows
    room = config.max_length - config.max_completion_length
    if room < 1:
        raise ConfigError(
            f"max_completion_length {config.max_completion_length} leaves no room for a prompt in "
            f"max_length {config.max_length}"
        )
    engine = engine_factory(policy, tokenizer)
    params = SamplingParams(config.max_completion_length, config.temperature)
    chosen: list[dict[str, Any]] = []
    cut = 0
    with progress_bar("best of n", len(rows)) as bar:
        for start in range(0, len(rows), CHUNK_PROMPTS):
            part = rows[start : start + CHUNK_PROMPTS]
            prompts = [encoder.encode_prompt(row.prompt) for row in part]
            cut += sum(len(prompt) > room for prompt in prompts)
            repeated = [p[-room:] for p in prompts for _ in range(config.num_generations)]
            results = generate(engine, repeated, params, seed=config.seed * 100_003 + start)
            chosen += _best(part, results, reward, encoder, config)
            bar.update(start + len(part))
    engine.close()
    kept = [row for row in chosen if row["completion"].strip()]
    if config.min_score is not None:
        kept = [row for row in kept if row["score"] >= config.min_score]
    if not kept:
        raise DataError(
            f"no response of {len(rows)} prompts is left to imitate; lower min_score, or raise "
            "num_generations"
        )
    path = run_dir.path / "demonstrations.jsonl"
    write_jsonl(path, kept)
    n = config.num_generations
    return Result(
        demonstrations=path,
        prompts=len(rows),
        kept=len(kept),
        first_score=sum(row["scores"][0] for row in chosen) / len(chosen),
        best_score=sum(row["score"] for row in chosen) / len(chosen),
        kl_bound_nats=math.log(n) - (n - 1) / n,
        cut_prompts=cut,
    )


def _best(
    rows: Sequence[PromptRow],
    results: Sequence[GenerationResult],
    reward: Reward,
    encoder: ChatEncoder,
    config: Config,
) -> list[dict[str, Any]]:
    """The best response to each prompt; the first of equals."""
    n = config.num_generations
    texts = [encoder.decode(result.response_ids) for result in results]
    repeated = [row for row in rows for _ in range(n)]
    scores = reward.score(
        [row.prompt for row in repeated],
        texts,
        prompt_ids=[result.prompt_ids for result in results],
        response_ids=[result.response_ids for result in results],
        columns=[row.columns for row in repeated],
    ).values
    found = []
    for place, row in enumerate(rows):
        own = [float(score) for score in scores[place * n : (place + 1) * n]]
        best = max(range(n), key=own.__getitem__)
        found.append(
            {
                **row.columns,
                "prompt": list(row.prompt),
                "completion": texts[place * n + best],
                "score": own[best],
                "scores": own,
            }
        )
    return found
