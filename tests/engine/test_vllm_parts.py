"""What surrounds vLLM, without it: what its answers become, what it is told, what it refuses."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from accord.core.controls import Controls
from accord.core.errors import ConfigError
from accord.core.types import GeneratedToken, GenerationRequest, SamplingParams
from accord.engine.requests import CooperativeGeneration
from accord.engine.vllm import VllmEngine
from accord.models.loading import load_policy, load_tokenizer
from accord.wiring import engine_factory

NEVER = -float("inf")


def known(logprob: float, rank: int) -> Any:
    return SimpleNamespace(logprob=logprob, rank=rank)


def test_tokens_that_are_cut_off_are_not_told() -> None:
    """Of top_k 2 with five asked for, as processed log-probs have them."""
    request = GenerationRequest((5,), SamplingParams(4), 0, Controls(top_k=2, top_logprobs=5))
    generation = CooperativeGeneration(request, lambda is_done: None)
    output = SimpleNamespace(
        token_ids=[7],
        logprobs=[
            {7: known(-1.1, 2), 6: known(-0.4, 1), 8: known(NEVER, 3), 9: known(NEVER, 4)},
        ],
    )
    engine: Any = SimpleNamespace(_version=3, _end_of_turn_id=2)
    VllmEngine._take(engine, generation, output)
    assert generation.tokens == [GeneratedToken(7, -1.1, 3, ((6, -0.4), (7, -1.1)))]


def test_clients_are_told_the_models_own_log_probs_and_training_those_it_sampled_at() -> None:
    serving = engine_factory("vllm", cache_mb=3, for_clients=True)
    assert serving.keywords == {"cache_bytes": 3 * 2**20, "logprobs_mode": "raw_logprobs"}
    assert engine_factory("vllm").keywords == {}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What vLLM is given; it has room for no context."""
    found: list[Any] = []

    def refuse(arguments: Any) -> None:
        found.append(arguments)
        raise ValueError("To serve at least one request (8 GiB KV cache is needed)")

    vllm: Any = ModuleType("vllm")
    vllm.EngineArgs = lambda **options: SimpleNamespace(**options)
    engine: Any = ModuleType("vllm.v1.engine.llm_engine")
    engine.LLMEngine = SimpleNamespace(from_engine_args=refuse)
    distributed: Any = ModuleType("vllm.distributed")
    distributed.cleanup_dist_env_and_memory = lambda: found.append("cleaned")
    monkeypatch.setitem(sys.modules, "vllm.distributed", distributed)
    parts = {"vllm": vllm, "vllm.v1": ModuleType("v1"), "vllm.v1.engine": ModuleType("engine")}
    for name, module in {**parts, "vllm.v1.engine.llm_engine": engine}.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS", "VLLM_CPU_OMP_THREADS_BIND",
                 "VLLM_ENABLE_V1_MULTIPROCESSING"):  # fmt: skip
        monkeypatch.setenv(name, "0")  # set back afterwards
    return found


def test_too_little_memory_is_told_with_what_to_do(tiny_model_dir: Path, built: list[Any]) -> None:
    policy = load_policy(str(tiny_model_dir), device=torch.device("cpu"))
    tokenizer = load_tokenizer(str(tiny_model_dir))
    for values, mode in (({}, "processed_logprobs"), ({"for_clients": True}, "raw_logprobs")):
        with pytest.raises(ConfigError, match="too little memory.*8 GiB.*--cache_mb"):
            engine_factory("vllm", cache_mb=3, **values)(policy, tokenizer, max_batch_size=4)
        assert built.pop() == "cleaned"
        arguments = built.pop()
        assert arguments.logprobs_mode == mode and arguments.max_num_seqs == 4
        assert arguments.kv_cache_memory_bytes == 3 * 2**20
