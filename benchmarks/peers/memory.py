"""Peak memory above the loaded model, by vocabulary and by tokens.

    python -m benchmarks.peers.memory ours step 32768 2048

Prints the peak of a few SFT steps (`step`), or of log-probs read from hidden states and their
gradients (`head`), in MB. A training step needs the gradients and two moments whatever is done with
the batch, and a head the gradient of its matrix: `of_weights_mb` are these, which grow with the
vocabulary, so that what the tokens cost can be told from what the weights cost.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from benchmarks.peers import models, work
from benchmarks.peers.measured import memory_mb, reset_peak, write_rows

VOCABULARIES = (8192, 32768, 131072)
TOKENS = (1024, 2048, 4096, 8192)
FIXED_TOKENS, FIXED_VOCABULARY = 2048, 32768
ROW = 1024
"""Tokens of a row; the number of rows makes the number of tokens."""
LENGTHS = (512, 1024, 2048, 4096)
"""Lengths of a single row, for the curve by length."""
WIDTH = models.SMALL["hidden_size"]


def points() -> list[tuple[str, int, int, int]]:
    """(curve, vocabulary, rows, length) of every measurement."""
    by_vocabulary = [("vocabulary", v, FIXED_TOKENS // ROW, ROW) for v in VOCABULARIES]
    by_tokens = [("tokens", FIXED_VOCABULARY, t // ROW, ROW) for t in TOKENS]
    by_length = [("length", FIXED_VOCABULARY, 1, length) for length in LENGTHS]
    return by_vocabulary + by_tokens + by_length


def text_rows(folder: Path, rows: int, length: int) -> list[dict[str, Any]]:
    """Real words, as many as fill every row to the length within a token or two."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    read = work.read("demonstrations/gpteacher.jsonl.gz", 400)
    words = " ".join(row["completion"][0]["content"] for row in read)
    ids = tokenizer.encode(words, add_special_tokens=False)
    question = [{"role": "user", "content": "Go on."}]
    opening = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
    room = length - len(tokenizer.encode(opening, add_special_tokens=False)) - 8
    return [
        {
            "prompt": question,
            "completion": [
                {"role": "assistant", "content": tokenizer.decode(ids[r * room : (r + 1) * room])}
            ],
        }
        for r in range(rows)
    ]


def peak_of(act: Callable[[], None]) -> float:
    """MB above what the process holds now."""
    reset_peak()
    before = memory_mb("VmRSS")
    act()
    return memory_mb("VmHWM") - before


def our_step(folder: Path, rows: int, length: int) -> float:
    """The SFT stage, from its first logged line (the model is loaded then) to its end."""
    from accord.core.run_dir import RunDir
    from accord.stages.sft import run as sft
    from accord.wiring import stage_config

    place = Path(tempfile.mkdtemp())
    every = text_rows(folder, rows, length)
    held_out = [{**row, "completion": [{"role": "assistant", "content": "Yes."}]} for row in every]
    config = stage_config("sft").parse(
        {
            "model_name_or_path": str(folder), "max_steps": 3, "max_length": length,
            "per_device_train_batch_size": rows, "num_train_epochs": 3,
            "dataset_name": write_rows(place / "rows.jsonl", every),
            "eval_dataset_name": write_rows(place / "few.jsonl", held_out[:1]),
        },
        where="bench",
    )  # fmt: skip
    before: list[float] = []
    peak: list[float] = []
    log = RunDir.log

    def watched(self: RunDir, step: int, metrics: Any) -> None:
        if step == 0:
            reset_peak()
            before.append(memory_mb("VmRSS"))
        elif step == 2:  # the moments exist since the first; the last saves, which is no step
            peak.append(memory_mb("VmHWM") - before[0])
        log(self, step, metrics)

    RunDir.log = watched  # type: ignore[method-assign]
    sft.run(config, RunDir(place / "run"))
    return peak[0]


def trl_step(folder: Path, rows: int, length: int) -> float:
    """TRL's SFT trainer on the same rows."""
    import trl
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = trl.SFTConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, max_steps=2, max_length=length,
        per_device_train_batch_size=rows, report_to="none", save_strategy="no", disable_tqdm=True,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(
        policy,
        config,
        train_dataset=Dataset.from_list(text_rows(folder, rows, length)),
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    return peak_of(trainer.train)


def head(side: str, folder: Path, tokens: int) -> float:
    """Log-probs of random tokens from random hidden states, and the gradients of both factors."""
    from transformers import AutoModelForCausalLM

    policy: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    states = torch.randn(1, tokens + 1, WIDTH, requires_grad=True)
    ids = torch.randint(0, policy.config.vocab_size, (1, tokens + 1))

    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, 0] = False
    if side == "ours":
        from accord.models.logprobs import logprobs_from_states

        def logprobs() -> torch.Tensor:
            return logprobs_from_states(policy, states[0, :-1], ids, mask).logprobs
    else:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(policy)
        policy.get_decoder().forward = lambda *_, **__: SimpleNamespace(last_hidden_state=states)

        def logprobs() -> torch.Tensor:
            found: torch.Tensor = policy(input_ids=ids, labels=ids, fused_lm_head=True).log_probs
            return found

    return peak_of(lambda: logprobs().sum().backward())


def of_weights_mb(kind: str, vocabulary: int) -> float:
    """Gradients and moments of all weights for a step, the gradient of the matrix for a head."""
    trunk = models.SMALL["num_hidden_layers"] * WIDTH * (4 * WIDTH + 3 * models.SMALL["intermediate_size"])  # fmt: skip  # noqa: E501
    numbers = vocabulary * WIDTH if kind == "head" else 3 * (trunk + vocabulary * WIDTH)
    return 4 * numbers / 2**20


def main(side: str, kind: str, vocabulary: int, rows: int, length: int) -> None:
    """One measurement, as a JSON line."""
    folder = models.build_small(vocabulary, max(LENGTHS))
    step = {"ours": our_step, "trl": trl_step}[side]
    peak = head(side, folder, rows * length) if kind == "head" else step(folder, rows, length)
    print("\n" + json.dumps({"peak_mb": peak}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(2)
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
