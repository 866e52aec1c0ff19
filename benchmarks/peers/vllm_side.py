"""vLLM's side of sampling: its own offline interface, compiled as it comes, no prompt remembered.

Its cache of prompts is off, or every call after the first would skip the reading of prompts that
both others do. Log-probs are not asked for, though our side returns them.

    python -m benchmarks.peers.vllm_side sampling bf16
"""

import os
import sys
from typing import Any

from benchmarks.peers import work
from benchmarks.peers.measured import Meter
from transformers import AutoTokenizer

CACHE_BYTES = 2**30


def two_cores() -> str:
    """The first two that this process may use, in vLLM's own notation."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    return f"{cores[0]}-{cores[-1]}" if cores[-1] - cores[0] < 2 else ",".join(map(str, cores))


def sample(case: str, configuration: str) -> None:
    """Responses of equal length to every prompt."""
    os.environ |= {
        "VLLM_CPU_OMP_THREADS_BIND": two_cores(), "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CACHE_ROOT": str(work.ROOT / "build/bench/vllm-cache"),
    }  # fmt: skip
    from vllm import LLM, SamplingParams

    tokenizer = AutoTokenizer.from_pretrained(work.model(case))
    encoded = tokenizer.apply_chat_template(work.prompts_of(case), add_generation_prompt=True)
    prompts: list[Any] = [{"prompt_token_ids": ids} for ids in encoded["input_ids"]]
    llm: Any = LLM(
        model=work.model(case), dtype="bfloat16" if configuration == "bf16" else "float32",
        skip_tokenizer_init=True, enable_prefix_caching=False, max_num_seqs=work.BATCH[case],
        kv_cache_memory_bytes=CACHE_BYTES,
    )  # fmt: skip
    meter = Meter()
    meter.is_loaded()
    for _ in range(work.STEPS[case]):
        params = SamplingParams(
            temperature=1.0, max_tokens=work.NEW_TOKENS, ignore_eos=True, detokenize=False,
        )  # fmt: skip
        done = llm.generate(prompts, params, use_tqdm=False)
        meter.step()
        if any(len(output.outputs[0].token_ids) != work.NEW_TOKENS for output in done):
            raise SystemExit("a response ended early: the sides do not do the same work")
    meter.report()


if __name__ == "__main__":
    sample(*sys.argv[1:])
