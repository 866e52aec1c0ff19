"""How fast a local judge judges: all pairs at once, against a loop of single calls.

    ACCORD_DATA=... python -m benchmarks.judging --pairs 64 --singles 32

The judge is a random Llama of 97.5M parameters (a judge's speed does not depend on its wisdom),
asked about real pairs in both orders. The loop is what a script with `transformers` does: encode
one question, run the model on it, read the verdict's two logits; it asks the same questions, token
for token (a sample of them, since each takes as long as another), and its answers must be equal to
1e-4. Processor seconds are what counts on a machine that others use as well.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from benchmarks.peers import models, work

from accord.core.types import Message
from accord.judges.both_orders import ask_both_orders
from accord.judges.log_prob_judge import LogProbJudge
from accord.judges.wording import transcript

CPU = torch.device("cpu")


def pairs(count: int) -> tuple[list[list[Message]], list[str], list[str]]:
    """Prompts and two responses each, of HH's harmless pairs."""
    prompts: list[list[Message]] = []
    a, b = [], []
    with gzip.open(work.data() / "preferences/hh-harmless/train.jsonl.gz", "rt") as file:
        for line in file:
            row = json.loads(line)
            prompts.append(row["prompt"])
            a.append(_text(row["chosen"]))
            b.append(_text(row["rejected"]))
            if len(a) == count:
                break
    return prompts, a, b


def _text(response: Any) -> str:
    return response if isinstance(response, str) else response[0]["content"]


def load_plain() -> Any:
    """The judge's model as the library loads it."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(work.random_model(), dtype=torch.float32).eval()


def single_calls(plain: Any, judge: LogProbJudge, questions: list[Any]) -> list[float]:
    """The verdict on each question, by the library alone, one call after the other."""
    yes, no = (torch.tensor(ids) for ids in judge.reader.spellings)
    found = []
    with torch.no_grad():
        for prompt, a, b in questions:
            texts = [transcript(prompt), a, b]
            ids, _ = judge.reader.fitted(lambda t: judge.wording.messages(*t), texts)
            logits = plain(input_ids=torch.tensor([ids])).logits[0, -1]
            odds = logits[yes].logsumexp(0) - logits[no].logsumexp(0)
            found.append(float(torch.sigmoid(odds)))
    return found


def timed(work_to_do: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it gives, its wall seconds and its processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work_to_do()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Both ways, and how far their answers are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--singles", type=int, default=32)
    options = parser.parse_args()
    count = options.pairs
    work.random_model().parent.mkdir(parents=True, exist_ok=True)
    models.build_large()
    prompts, a, b = pairs(count)
    judge = LogProbJudge(work.random_model(), device=CPU)
    judge.compare(prompts[:1], ["Yes."], ["No."])  # the first call of all pays for what is kept
    judged, wall_s, cpu_s = timed(lambda: ask_both_orders(judge, prompts, a, b))
    ours = [*judged.forth, *judged.back]
    questions = [*zip(prompts, a, b, strict=True), *zip(prompts, b, a, strict=True)]
    rng = np.random.default_rng(0)
    sample = rng.permutation(len(questions))[: options.singles].tolist()
    plain = load_plain()
    said, single_wall_s, single_cpu_s = timed(
        lambda: single_calls(plain, judge, [questions[i] for i in sample])
    )
    gap = max(abs(ours[i] - q) for i, q in zip(sample, said, strict=True))
    batched, single = cpu_s / len(questions), single_cpu_s / len(sample)
    print(f"{count} pairs in both orders, {torch.get_num_threads()} threads, float32; a question:")
    print(f"batched {batched:.3f} s of processor, {wall_s / len(questions):.3f} s of wall")
    print(f"single  {single:.3f} s of processor, {single_wall_s / len(sample):.3f} s of wall")
    wall_ratio = single_wall_s / len(sample) / (wall_s / len(questions))
    print(f"{single / batched:.1f}x by processor seconds, {wall_ratio:.1f}x by wall seconds")
    print(f"largest difference {gap:.1e}; shortened {judge.counts['shortened']}")


if __name__ == "__main__":
    main()
