"""On one CUDA GPU: MFU of SFT and of PPO's update, and the share of bandwidth while sampling.

    python -m benchmarks.gpu.measure --parameters 0.6e9

Prints Markdown. The stages are the real ones, on a random Llama and random words; the limits are
measured on the device and, where its data sheet is known, taken from there.
"""

import argparse
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.gpu.arithmetic import (
    ppo_update_flops,
    published_limits,
    sampling_bytes,
    training_flops,
)
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from accord.core.assets import resolve_asset
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import SamplingParams
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.models.footprint import Footprint, footprint
from accord.models.loading import load_policy, load_tokenizer
from accord.pipeline import execute
from accord.stages.policy_training.ppo import run as ppo
from accord.wiring import stage_config

HEAD_DIM = 64
WORDS = ["the", "and", "of", "to", "in", "is", "that", "it", "was", "for", "with", "they", "from"]


def llama_of(parameters: float, vocabulary: int) -> LlamaConfig:
    """A Llama of about so many weights, of usual shape: a layer has 12 width^2 of them, and there
    is one for every 96 columns of the width.
    """
    width = 256 * max(1, round((96 * parameters / 12) ** (1 / 3) / 256))
    layers = max(1, round((parameters - vocabulary * width) / (12 * width**2)))
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=width * 8 // 3,
        num_hidden_layers=layers, num_attention_heads=width // HEAD_DIM,
        num_key_value_heads=width // HEAD_DIM, max_position_embeddings=2048,
        tie_word_embeddings=True, bos_token_id=0, eos_token_id=2, pad_token_id=3,
    )  # fmt: skip


def measured_limits() -> tuple[float, float]:
    """FLOP/s of bfloat16 products, bytes/s of a copy."""
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    flops = 2 * n**3 / fastest(lambda: a @ b)
    return flops, 2 * source.numel() * 4 / fastest(lambda: target.copy_(source))


def fastest(work: Callable[[], object], repetitions: int = 20) -> float:
    """Seconds of the fastest repetition, the device waited for."""
    best = math.inf
    for _ in range(repetitions):
        best = min(best, seconds_of(work))
    return best


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds of one call, the device waited for."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def text(tokens: int) -> str:
    """Words that are about so many tokens."""
    return " ".join(random.choices(WORDS, k=tokens))


def vowels(completions: list[Any], **_: Any) -> list[float]:
    """A cheap score that varies."""
    return [sum(str(c).count(v) for v in "aeiou") / (1 + len(str(c))) for c in completions]


def sft_flops_a_second(model: str, sizes: Footprint, folder: Path, steps: int) -> float:
    """Model FLOP/s of fine-tuning in bfloat16, median over steps after the first two."""
    length = 1024
    rows = [{"prompt": text(200), "completion": text(900)} for _ in range(16 * steps + 32)]
    write_jsonl(folder / "sft.jsonl", rows)
    config = stage_config("sft").parse(
        {
            "model_name_or_path": model, "dataset_name": str(folder / "sft.jsonl"), "bf16": True,
            "max_length": length, "max_steps": steps, "eval_steps": 10_000, "save_steps": 10_000,
        },
        where="benchmark",
    )  # fmt: skip
    times: list[float] = []
    tokens: list[int] = [0]
    log = RunDir.log

    def timed(self: RunDir, step: int, metrics: Any) -> None:
        torch.cuda.synchronize()
        if step > 0 and step < steps:  # the last one evaluates, too
            times.append(time.perf_counter())
            tokens.append(metrics["num_tokens"])
        log(self, step, metrics)

    RunDir.log = timed  # type: ignore[method-assign]
    try:
        execute("sft", config, folder / "sft")
    finally:
        RunDir.log = log  # type: ignore[method-assign]
    rates = []
    for i in range(2, len(times)):
        of_step = tokens[i + 1] - tokens[i]
        # The response's share of a row: 900 of its words.
        flops = training_flops(
            sizes, tokens=of_step, targets=of_step * 900 / length, length=of_step / 16
        )
        rates.append(flops / (times[i] - times[i - 1]))
    return statistics.median(rates)


def ppo_flops_a_second(model: str, sizes: Footprint, folder: Path, updates: int) -> float:
    """Model FLOP/s of PPO's update alone, a value model beside the policy, median."""
    write_jsonl(folder / "prompts.jsonl", [{"prompt": text(200)} for _ in range(256)])
    config = stage_config("ppo").parse(
        {
            "model_name_or_path": model, "prompts": str(folder / "prompts.jsonl"), "bf16": True,
            "reward_funcs": "benchmarks.gpu.measure:vowels", "max_length": 512,
            "max_completion_length": 256, "per_device_train_batch_size": 32,
            "mini_batch_size": 32, "max_steps": updates, "max_update_kl": None,
            "max_eval_prompts": 2, "eval_steps": 10_000, "save_steps": 10_000,
        },
        where="benchmark",
    )  # fmt: skip
    rates: list[float] = []
    update_policy = ppo.update_policy

    def timed(policy: Any, experience: Any, *arguments: Any, **others: Any) -> Any:
        found: list[Any] = []
        seconds = seconds_of(
            lambda: found.append(update_policy(policy, experience, *arguments, **others))
        )
        tokens = float(experience.batch.attention_mask.sum())
        flops = ppo_update_flops(
            sizes, sizes, tokens=tokens, responses=float(experience.batch.target_mask.sum()),
            length=tokens / len(experience.batch.input_ids), epochs=config.num_ppo_epochs,  # type: ignore[attr-defined]
        )  # fmt: skip
        rates.append(flops / seconds)
        return found[0]

    ppo.update_policy = timed  # type: ignore[assignment]
    try:
        execute("ppo", config, folder / "ppo")
    finally:
        ppo.update_policy = update_policy
    return statistics.median(rates[1:] or rates)


def sampled_bytes_a_second(model: str, sizes: Footprint, rows: int) -> tuple[float, float]:
    """Bytes a second that sampling cannot do without, and tokens a second."""
    new, prompt = 256, 256
    policy = load_policy(model, device=torch.device("cuda"), dtype=torch.bfloat16)
    engine = LocalEngine(policy, load_tokenizer(model))
    engine._end_of_turn_id = -1  # none may end earlier
    prompts = [tuple(random.randrange(4, sizes.vocabulary) for _ in range(prompt))] * rows

    def sample(tokens: int) -> Callable[[], object]:
        return lambda: generate(engine, prompts, SamplingParams(tokens, 1.0), seed=0)

    sample(8)()
    # The prompts' forward is in both, and in neither of the differences.
    seconds = fastest(sample(new), 3) - fastest(sample(1), 3)
    a_step = sampling_bytes(sizes, rows=rows, context=prompt + new / 2, weight_bytes=2)
    return (new - 1) * a_step / seconds, rows * (new - 1) / seconds


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=float, default=0.6e9)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = AutoTokenizer.from_pretrained(resolve_asset("accord:base"))
        tokenizer.model_max_length = 2048
        torch.manual_seed(0)
        fresh = LlamaForCausalLM(llama_of(options.parameters, len(tokenizer)))
        model = str(folder / "model")
        fresh.save_pretrained(model)
        del fresh
        tokenizer.save_pretrained(model)
        sizes = footprint(model)
        device = torch.cuda.get_device_name()
        sources = {"measured": measured_limits(), "data sheet": published_limits(device)}
        found = {
            "SFT, bfloat16 trunk": sft_flops_a_second(model, sizes, folder, options.steps),
            "PPO's update, policy and value": ppo_flops_a_second(model, sizes, folder, 3),
        }
        reading = {rows: sampled_bytes_a_second(model, sizes, rows) for rows in (1, 32)}
    print(table(device, sizes, sources, found, reading))


def table(
    device: str,
    sizes: Footprint,
    sources: dict[str, tuple[float, float] | None],
    found: dict[str, float],
    reading: dict[int, tuple[float, float]],
) -> str:
    """A row a piece of work: what it reached, and the share of each known limit."""
    known = {name: limits for name, limits in sources.items() if limits is not None}
    lines = [
        f"{device}, torch {torch.__version__}, {sizes.parameters / 1e9:.2f}B parameters",
        "",
        "limits: "
        + "; ".join(
            f"{name} {flops / 1e12:.0f} TFLOP/s, {bandwidth / 1e12:.2f} TB/s"
            for name, (flops, bandwidth) in known.items()
        ),
        "",
        "| work | reached | " + " | ".join(f"share, {name}" for name in known) + " |",
        "|---|---|" + "---|" * len(known),
    ]
    for work, flops in found.items():
        shares = [f"{flops / limits[0]:.1%}" for limits in known.values()]
        lines.append(f"| {work} | {flops / 1e12:.1f} TFLOP/s | " + " | ".join(shares) + " |")
    for rows, (bandwidth, tokens) in reading.items():
        shares = [f"{bandwidth / limits[1]:.1%}" for limits in known.values()]
        work = f"sampling, {rows} rows, bfloat16, {tokens:.0f} tokens a second"
        lines.append(f"| {work} | {bandwidth / 1e12:.3f} TB/s | " + " | ".join(shares) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
