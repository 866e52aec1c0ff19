"""One response a prompt from each policy, kept for a resumed run; log-probs under any model."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from accord.core import files
from accord.core.device import default_device
from accord.core.errors import CheckpointError, ConfigError, Interrupted
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow, SamplingParams
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.readers import read_rows
from accord.engine.generate import generate
from accord.models.loading import load_policy, load_tokenizer, within_context
from accord.models.logprobs import token_logprobs
from accord.stages.evaluation.config import Config
from accord.training.batches import collate, micro_batches

CHUNK_PROMPTS = 256
"""Prompts whose responses are written together: the most that a kill can lose."""
TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class Response:
    """A policy's answer; log-probs in nats, one a token of `response_ids`."""

    text: str
    prompt_ids: list[int]
    response_ids: list[int]
    finish: Literal["stop", "length", "cancelled"]
    was_cut: bool  # the prompt's start did not fit
    sampler_logprobs: list[float]  # as the engine reported them
    logprobs: list[float]  # of the same tokens, recomputed as training does


def collect_responses(
    name: str,
    rows: Sequence[PromptRow],
    config: Config,
    run_dir: RunDir,
    engine_factory: EngineFactory,
    stop: object,
) -> list[Response]:
    """Responses of one policy in `responses-NAME.jsonl`; what is there is not sampled again.

    Args:
        stop: true in a boolean context once the run should stop.

    Raises:
        Interrupted: it was asked to stop; what was sampled is on disk.
    """
    path = run_dir.path / f"responses-{name}.jsonl"
    found = [Response(**row) for row in read_rows(str(path))] if path.exists() else []
    if len(found) > len(rows) or (len(found) % CHUNK_PROMPTS and len(found) < len(rows)):
        raise CheckpointError(
            f"{path}: has {len(found)} responses to {len(rows)} prompts, which no chunk ends at; "
            "delete it to sample again"
        )
    if len(found) == len(rows):
        return found
    sample = _sampler(config.policies[name], config, engine_factory)
    with progress_bar(f"sampling {name}", len(rows)) as bar:
        while len(found) < len(rows):
            if stop:
                raise Interrupted(
                    f"{run_dir.path}: stopped after {len(found)} responses of {name}; run again "
                    "to resume"
                )
            chunk = rows[len(found) : len(found) + CHUNK_PROMPTS]
            # The same seeds for every policy: less chance in their differences.
            found += sample(chunk, config.seed * 100_003 + len(found) // CHUNK_PROMPTS)
            files.write_jsonl(path, map(asdict, found))
            bar.update(len(found))
    return found


def _sampler(
    model: str, config: Config, engine_factory: EngineFactory
) -> Callable[[Sequence[PromptRow], int], list[Response]]:
    """A function from some prompts and a seed to the model's responses."""
    tokenizer = load_tokenizer(model)
    encoder = ChatEncoder(tokenizer)
    policy = load_policy(model, device=default_device())
    engine = engine_factory(policy, tokenizer)
    params = SamplingParams(config.max_completion_length, config.temperature)
    room = _prompt_room(model, policy.config, config)

    def sample(rows: Sequence[PromptRow], seed: int) -> list[Response]:
        whole = [encoder.encode_prompt(row.prompt) for row in rows]
        results = generate(engine, [prompt[-room:] for prompt in whole], params, seed=seed)
        encoded = [Encoded(result.prompt_ids, result.response_ids) for result in results]
        own = response_logprobs(policy, encoded, pad_id=encoder.pad_id, config=config)
        return [
            Response(
                text=encoder.decode(result.response_ids),
                prompt_ids=list(result.prompt_ids),
                response_ids=list(result.response_ids),
                finish=result.finish,
                was_cut=len(prompt) > room,
                sampler_logprobs=[token.logprob for token in result.tokens],
                logprobs=logprobs.tolist(),
            )
            for prompt, result, logprobs in zip(whole, results, own, strict=True)
        ]

    return sample


def _prompt_room(model: str, model_config: Any, config: Config) -> int:
    """Tokens of a prompt beside the longest response."""
    limit = within_context(config.max_length, model_config)
    room = limit - config.max_completion_length
    if room < 1:
        raise ConfigError(
            f"evaluate: max_completion_length {config.max_completion_length} leaves no room for a "
            f"prompt in the context of {model}, {limit} tokens"
        )
    return room


def reference_logprobs(
    responses: dict[str, list[Response]], config: Config
) -> dict[str, list[npt.NDArray[np.float64]]]:
    """Log-probs of every policy's tokens under the reference, which is loaded once."""
    encoder = ChatEncoder(load_tokenizer(config.reference))
    reference = load_policy(config.reference, device=default_device())
    return {
        name: response_logprobs(
            reference,
            [Encoded(tuple(r.prompt_ids), tuple(r.response_ids)) for r in answers],
            pad_id=encoder.pad_id,
            config=config,
        )
        for name, answers in responses.items()
    }


@torch.no_grad()
def response_logprobs(
    model: Any, rows: Sequence[Encoded], *, pad_id: int, config: Config
) -> list[npt.NDArray[np.float64]]:
    """log pi of each response's tokens in nats, at the sampling temperature (1 when greedy)."""
    lengths = [len(row.input_ids) for row in rows]
    found: list[npt.NDArray[np.float64]] = [np.empty(0)] * len(rows)
    device = default_device()
    for piece in micro_batches(range(len(rows)), lengths, token_budget=TOKENS_PER_BATCH):
        batch = collate([rows[i] for i in piece], pad_id=pad_id, device=device)
        grid = token_logprobs(model, *batch, temperature=config.temperature or 1.0).logprobs.cpu()
        for place, i in enumerate(piece):
            found[i] = grid[place, len(rows[i].prompt_ids) : lengths[i]].double().numpy()
    return found
