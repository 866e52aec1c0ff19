"""How fast a local judge judges: all pairs at once, against a loop of single calls.

    ACCORD_DATA=... python -m benchmarks.judging --pairs 24

The judge is a random Llama of 97.5M parameters (a judge's speed does not depend on its wisdom),
asked about real pairs in both orders. The loop is what a script with `transformers` does: encode
one question, run the model on it, read the verdict's two logits; it asks the same questions, token
for token, and its answers must be equal to 1e-4.
"""

import argparse
import gzip
import json
import time
from typing import Any

import torch
from benchmarks.peers import models, work

from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.judges.both_orders import BothOrders
from accord.judges.log_prob_judge import LogProbJudge
from accord.judges.wording import transcript
from accord.models.loading import load_tokenizer

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


def single_calls(judge: LogProbJudge, questions: list[Any]) -> list[float]:
    """The verdict on each question, by the library alone, one call after the other."""
    from transformers import AutoModelForCausalLM

    path = work.random_model()
    plain = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    encoder = ChatEncoder(load_tokenizer(str(path)))
    yes, no = (torch.tensor(ids) for ids in judge.reader.spellings)
    found = []
    with torch.no_grad():
        for prompt, a, b in questions:
            ids = encoder.encode_prompt(judge.wording.messages(transcript(prompt), a, b))
            logits = plain(input_ids=torch.tensor([ids])).logits[0, -1]
            odds = logits[yes].logsumexp(0) - logits[no].logsumexp(0)
            found.append(float(torch.sigmoid(odds)))
    return found


def main() -> None:
    """Both ways, and how far their answers are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    count = parser.parse_args().pairs
    work.random_model().parent.mkdir(parents=True, exist_ok=True)
    models.build_large()
    prompts, a, b = pairs(count)
    judge = LogProbJudge(work.random_model(), device=CPU)
    judge.compare(prompts[:1], a[:1], b[:1])  # the first call of all pays for what is kept
    start = time.perf_counter()
    judged = BothOrders(judge).judge_pairs(prompts, a, b)
    batched_s = time.perf_counter() - start
    questions = [*zip(prompts, a, b, strict=True), *zip(prompts, b, a, strict=True)]
    start = time.perf_counter()
    said = single_calls(judge, questions)
    single_s = time.perf_counter() - start
    ours = [*judged.a_first, *(1 - p for p in judged.b_first)]
    gap = max(abs(p - q) for p, q in zip(ours, said, strict=True))
    print(f"{count} pairs in both orders, {torch.get_num_threads()} threads, float32")
    print(f"batched {batched_s:.1f} s, single calls {single_s:.1f} s: {single_s / batched_s:.1f}x")
    print(f"largest difference {gap:.1e}; shortened {judge.counts['shortened']}")


if __name__ == "__main__":
    main()
