"""Responses to fresh prompts: of policies, and pools of one policy's; what each scorer says."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.over_optimisation.runs import MAX_COMPLETION, MAX_LENGTH, Proxy, Quickstart
from benchmarks.over_optimisation.second_gold import by_examples

from accord.core.device import default_device
from accord.core.files import write_json
from accord.core.interfaces import Reward
from accord.core.reward_config import RewardConfig
from accord.core.types import SamplingParams
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.sample_set import score
from accord.corpora.sample_set.generate import make_rows
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import token_logprobs
from accord.rewards.mixed import load_reward
from accord.training.batches import collate, micro_batches

FRESH_SEED = 10_000
"""Added to a run's seed, it is that of the sample set whose prompts nothing was trained on."""
TOKENS_PER_BATCH = 8192


def fresh_rows(quickstart: Quickstart, count: int) -> list[dict[str, Any]]:
    """Prompts with what the scorers read, in words that training never used.

    Raises:
        ValueError: as `refuse_known`.
    """
    rows = [r for r in make_rows(FRESH_SEED + quickstart.seed) if r["split"] == "test"][:count]
    refuse_known(rows, quickstart)
    return [dict(row) for row in rows]


def refuse_known(rows: Sequence[Any], quickstart: Quickstart) -> None:
    """Fresh is what the run has never seen.

    Raises:
        ValueError: a prompt was trained on, or watched by the brake.
    """
    known = set()
    for split in ("train", "validation"):
        lines = Path(quickstart.prompts(split)).read_text("utf-8").splitlines()
        known |= {json.loads(line)["prompt"][0]["content"] for line in lines}
    for row in rows:
        if row["prompt"][0]["content"] in known:
            raise ValueError(f"{row['prompt'][0]['content']!r} is no fresh prompt: the run has it")


class Sampler:
    """The SFT policy with an engine, whose weights can be those of any of its descendants."""

    def __init__(self, quickstart: Quickstart) -> None:
        tokenizer = load_tokenizer(quickstart.policy)
        self.encoder = ChatEncoder(tokenizer)
        self.reference = load_policy(quickstart.policy, device=default_device())
        policy = load_policy(quickstart.policy, device=default_device())
        self.engine = LocalEngine(policy, tokenizer)

    def sample(self, rows: Sequence[Mapping[str, Any]], *, seed: int) -> list[Any]:
        """A response to each row, by the weights that the engine has."""
        prompts = [self.encoder.encode_prompt(row["prompt"]) for row in rows]
        room = MAX_LENGTH - MAX_COMPLETION
        params = SamplingParams(MAX_COMPLETION, 1.0)
        return generate(self.engine, [prompt[-room:] for prompt in prompts], params, seed=seed)

    @torch.no_grad()
    def reference_logprobs(self, results: Sequence[Any]) -> list[float]:
        """Of each response under the SFT policy, in nats."""
        encoded = [Encoded(result.prompt_ids, result.response_ids) for result in results]
        lengths = [len(row.input_ids) for row in encoded]
        found = [0.0] * len(encoded)
        for piece in micro_batches(range(len(encoded)), lengths, token_budget=TOKENS_PER_BATCH):
            batch = collate(
                [encoded[i] for i in piece], pad_id=self.encoder.pad_id, device=default_device()
            )
            grid = token_logprobs(self.reference, *batch, temperature=1.0).logprobs
            totals = (grid * batch.target_mask).sum(1).tolist()
            for i, total in zip(piece, totals, strict=True):
                found[i] = total
        return found


Scorer = Callable[[Sequence[Mapping[str, Any]], Sequence[Any], Sequence[str]], list[float]]
"""(rows, results, texts) -> one number a response."""


def scorer_of(proxy: Proxy, encoder: ChatEncoder) -> Scorer:
    """A proxy as PPO reads it."""
    reward: Reward = load_reward(
        RewardConfig(**proxy.fields),
        device=default_device(),
        max_length=MAX_LENGTH,
        policy_encoder=encoder,
    )

    def ask(
        rows: Sequence[Mapping[str, Any]], results: Sequence[Any], texts: Sequence[str]
    ) -> list[float]:
        return list(
            reward.score(
                [row["prompt"] for row in rows],
                texts,
                prompt_ids=[result.prompt_ids for result in results],
                response_ids=[result.response_ids for result in results],
                columns=[{}] * len(rows),
            ).values
        )

    return ask


GOLDS: Mapping[str, Callable[[str, Any], float]] = {"gold": score, "second gold": by_examples}
"""f(text, row): the rule scorer, which the brake reads, and one that it never sees."""


def policy_figures(
    weights: Mapping[str, Callable[[], Mapping[str, torch.Tensor]]],
    rows: Sequence[Mapping[str, Any]],
    sampler: Sampler,
    proxy: Scorer,
    path: Path,
) -> dict[str, dict[str, list[float]]]:
    """By policy and figure (proxy, gold, second gold, kl_nats), a number a row; kept in a file.

    All policies respond with the same seeds. The KL is that of one response to each prompt.
    """
    if path.exists():
        found: dict[str, dict[str, list[float]]] = json.loads(path.read_text("utf-8"))
        return found
    found = {}
    for name, load in weights.items():
        sampler.engine.load_weights(load(), version=len(found))
        results = sampler.sample(rows, seed=1)
        texts = [sampler.encoder.decode(result.response_ids) for result in results]
        own = [sum(token.logprob for token in result.tokens) for result in results]
        found[name] = {
            "proxy": proxy(rows, results, texts),
            "kl_nats": (np.array(own) - sampler.reference_logprobs(results)).tolist(),
        }
        for gold, judge in GOLDS.items():
            found[name][gold] = [judge(t, row) for t, row in zip(texts, rows, strict=True)]
        print(f"{path.stem} {name}: " + figures_line(found[name]), flush=True)
    write_json(path, found)
    return found


def figures_line(figures: Mapping[str, Sequence[float]]) -> str:
    """Means, for the log."""
    return ", ".join(f"{name} {np.mean(values):.3f}" for name, values in figures.items())


@dataclass(frozen=True)
class Pool:
    """What the SFT policy drew for one prompt: M different responses, (M,) each."""

    row: Mapping[str, Any]
    counts: Any
    logprobs: Any
    """of the whole response, in nats"""
    scores: Mapping[str, Any]
    """by proxy and gold"""


def draw_pools(
    rows: Sequence[Mapping[str, Any]],
    sampler: Sampler,
    proxies: Mapping[str, Scorer],
    path: Path,
    *,
    size: int,
) -> list[Pool]:
    """Pools of `size` draws a prompt with every scorer's opinion; each is kept in a file."""
    path.mkdir(parents=True, exist_ok=True)
    pools = []
    for number, row in enumerate(rows):
        kept = path / f"{number}.json"
        if not kept.exists():
            write_json(kept, _draw(row, sampler, proxies, size=size, seed=number))
            print(f"pool {number + 1} of {len(rows)}", flush=True)
        drawn = json.loads(kept.read_text("utf-8"))
        scores = {name: np.array(values) for name, values in drawn["scores"].items()}
        pools.append(Pool(row, np.array(drawn["counts"]), np.array(drawn["logprobs"]), scores))
    return pools


def _draw(
    row: Mapping[str, Any], sampler: Sampler, proxies: Mapping[str, Scorer], *, size: int, seed: int
) -> dict[str, Any]:
    by_ids: dict[tuple[int, ...], list[Any]] = {}
    for result in sampler.sample([row] * size, seed=seed):
        by_ids.setdefault(result.response_ids, []).append(result)
    results = [same[0] for same in by_ids.values()]
    rows = [row] * len(results)
    texts = [sampler.encoder.decode(result.response_ids) for result in results]
    scores = {name: ask(rows, results, texts) for name, ask in proxies.items()}
    scores |= {name: [judge(text, row) for text in texts] for name, judge in GOLDS.items()}
    return {
        "texts": texts,
        "counts": [len(same) for same in by_ids.values()],
        "logprobs": [sum(token.logprob for token in result.tokens) for result in results],
        "scores": scores,
    }
