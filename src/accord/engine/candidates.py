"""Candidates from a policy, in chunks that a killed run does not sample again."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from accord.core import files
from accord.core.candidates_config import CandidatesConfig
from accord.core.device import default_device
from accord.core.errors import ConfigError, Interrupted
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow, SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.corpora.prompt_pool import Prompt, draw_batch, to_pool_prompt
from accord.corpora.prompts import load_prompts
from accord.corpora.readers import read_rows
from accord.engine.generate import generate
from accord.models.loading import context_length, load_policy, load_tokenizer

CHUNK_PROMPTS = 256
"""Prompts whose responses are written together: the most that a kill can lose."""


def prompts_of(config: CandidatesConfig) -> list[PromptRow]:
    """The prompts to respond to: the first ones, or a batch of the pool.

    Raises:
        DataError: the pool has too few prompts left, or too few hard ones.
    """
    assert config.prompts
    rows = load_prompts(config.prompts)
    if not config.draws_a_batch:
        return rows[: config.max_prompts] if config.max_prompts >= 0 else rows
    used = {p.id for name in config.used_prompts for p in _pool(load_prompts(name), name)}
    pool = _pool(rows, config.prompts)
    drawn = draw_batch(
        pool,
        config.max_prompts if config.max_prompts >= 0 else sum(p.id not in used for p in pool),
        edge_share=config.edge_share,
        red_team_share=config.red_team_share,
        used=used,
        seed=config.seed,
    )
    first = {prompt.id: row for prompt, row in zip(reversed(pool), reversed(rows), strict=True)}
    return [first[prompt.id] for prompt in drawn]


def _pool(rows: Sequence[PromptRow], name: str) -> list[Prompt]:
    return [
        to_pool_prompt({**row.columns, "prompt": list(row.prompt)}, f"{name}, row {number}")
        for number, row in enumerate(rows, start=1)
    ]


@dataclass(frozen=True)
class Candidates:
    """A prompt's responses, in the order of sampling; `was_cut`: its start did not fit."""

    texts: list[str]
    was_cut: bool


def sample_candidates(
    rows: Sequence[PromptRow],
    config: CandidatesConfig,
    run_dir: RunDir,
    engine_factory: EngineFactory,
    stop: object,
) -> list[Candidates]:
    """`num_generations` responses to each prompt, in order; finished chunks are read back.

    Args:
        stop: true in a boolean context once the run should stop.

    Raises:
        Interrupted: it was asked to stop; what was sampled is on disk.
    """
    sample: Callable[[Sequence[PromptRow], int], list[Candidates]] | None = None
    found: list[Candidates] = []
    with progress_bar("sampling responses", len(rows)) as bar:
        for number, start in enumerate(range(0, len(rows), CHUNK_PROMPTS)):
            path = run_dir.path / "candidates" / f"chunk-{number}.jsonl"
            if not path.exists():
                if stop:
                    raise Interrupted(
                        f"{run_dir.path}: stopped after {start} prompts; run again to resume"
                    )
                # A resumed run that has every chunk needs no model.
                sample = sample or _sampler(config, engine_factory)
                chunk = sample(rows[start : start + CHUNK_PROMPTS], number)
                files.write_jsonl(path, map(asdict, chunk))
            found += [Candidates(**row) for row in read_rows(str(path))]
            bar.update(len(found))
    return found


def _sampler(
    config: CandidatesConfig, engine_factory: EngineFactory
) -> Callable[[Sequence[PromptRow], int], list[Candidates]]:
    """A function from a chunk of prompts and its number to their candidates."""
    assert config.model_name_or_path
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    policy = load_policy(config.model_name_or_path, device=default_device())
    engine = engine_factory(policy, tokenizer)
    params = SamplingParams(config.max_completion_length, config.temperature)
    room = _prompt_room(policy.config, config)
    n = config.num_generations

    def sample(rows: Sequence[PromptRow], number: int) -> list[Candidates]:
        whole = [encoder.encode_prompt(row.prompt) for row in rows]
        # The start of an over-long prompt is cut, never the room for a response.
        requests = [prompt[-room:] for prompt in whole for _ in range(n)]
        results = generate(engine, requests, params, seed=config.seed * 100_003 + number)
        texts = [encoder.decode(result.response_ids) for result in results]
        return [
            Candidates(texts[n * i : n * i + n], was_cut=len(prompt) > room)
            for i, prompt in enumerate(whole)
        ]

    return sample


def _prompt_room(model_config: Any, config: CandidatesConfig) -> int:
    """Tokens of a prompt beside the longest response, in the model's context."""
    context = context_length(model_config)
    if context is None:
        return 1 << 30
    room = context - config.max_completion_length
    if room < 1:
        raise ConfigError(
            f"max_completion_length {config.max_completion_length} leaves no room "
            f"for a prompt in the model's context of {context} tokens"
        )
    return room
