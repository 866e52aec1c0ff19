"""One response a prompt from each policy, with its KL to the reference; kept for a resumed run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from accord.core import files
from accord.core.device import default_device
from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.core.types import GenerationResult, PromptRow, SamplingParams
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.readers import read_rows
from accord.engine.generate import generate
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import token_logprobs
from accord.stages.evaluation.config import Config
from accord.training.batches import collate, micro_batches

TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class Response:
    """A policy's answer; `kl_nats` is log pi - log pi_ref summed over its tokens (k1)."""

    text: str
    tokens: int
    stopped: bool
    kl_nats: float
    largest_gap_nats: float  # between sampler and trainer, over its tokens


def collect_responses(
    name: str,
    rows: Sequence[PromptRow],
    config: Config,
    run_dir: RunDir,
    engine_factory: EngineFactory,
) -> list[Response]:
    """Responses of one policy, sampled once and read back afterwards."""
    path = run_dir.path / f"responses-{name}.jsonl"
    if not path.exists():
        responses = _sample(config.policies[name], rows, config, engine_factory)
        files.write_jsonl(path, (vars(response) for response in responses))
    return [Response(**row) for row in read_rows(str(path))]


def _sample(
    model: str, rows: Sequence[PromptRow], config: Config, engine_factory: EngineFactory
) -> list[Response]:
    tokenizer = load_tokenizer(model)
    encoder = ChatEncoder(tokenizer)
    policy = load_policy(model, device=default_device())
    engine = engine_factory(policy, tokenizer)
    params = SamplingParams(config.max_completion_length, config.temperature)
    room = config.max_length - config.max_completion_length
    prompts = [encoder.encode_prompt(row.prompt)[-room:] for row in rows]
    done = generate(engine, prompts, params, seed=config.seed)
    engine.close()
    temperature = config.temperature or 1.0
    own = _response_logprobs(policy, done, encoder, temperature)
    del policy, engine
    reference = load_policy(config.reference, device=default_device())
    theirs = _response_logprobs(reference, done, encoder, temperature)
    responses = []
    for result, mine, other in zip(done, own, theirs, strict=True):
        sampled = np.array([token.logprob for token in result.tokens])
        responses.append(
            Response(
                text=encoder.decode(result.response_ids),
                tokens=len(result.tokens),
                stopped=result.finish == "stop",
                kl_nats=float((mine - other).sum()),
                largest_gap_nats=float(np.abs(mine - sampled).max()),
            )
        )
    return responses


@torch.no_grad()
def _response_logprobs(
    model: Any, results: Sequence[GenerationResult], encoder: ChatEncoder, temperature: float
) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Log-probs in nats of every response's tokens under `model`."""
    rows = [Encoded(result.prompt_ids, result.response_ids) for result in results]
    lengths = [len(row.input_ids) for row in rows]
    found: list[Any] = [None] * len(rows)
    for piece in micro_batches(range(len(rows)), lengths, token_budget=TOKENS_PER_BATCH):
        batch = collate([rows[i] for i in piece], pad_id=encoder.pad_id, device=default_device())
        grid = token_logprobs(model, *batch, temperature=temperature).logprobs.cpu()
        for place, i in enumerate(piece):
            start = len(rows[i].prompt_ids)
            found[i] = grid[place, start : lengths[i]].numpy()
    return found
