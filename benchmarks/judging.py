"""How fast a local judge judges: all pairs at once, against a loop of single calls.

    ACCORD_DATA=... python -m benchmarks.judging --pairs 64 --singles 32
    ACCORD_DATA=... python -m benchmarks.judging --pairs 64 --singles 32 --by_constitution
    ACCORD_DATA=... python -m benchmarks.judging --pairs 32 --singles 4 --reasons 64

The judge is a random Llama of 97.5M parameters (a judge's speed does not depend on its wisdom),
asked about real pairs in both orders. The loop is what a script with `transformers` does: encode
one question, run the model on it, read the verdict's two logits; it asks the same questions, token
for token (a sample of them, since each takes as long as another), and its answers must be equal to
1e-4. Processor seconds are what counts on a machine that others use as well.

With `--reasons N` what is timed is a judge's writing (its reasons before the verdict, a critique, a
revision): N tokens to each question through `LocalChat` and the batched engine, against the
library's `generate`, one call after the other. Both take the likeliest token, and have to write the
same.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from benchmarks.peers import models, work

from accord.core.assets import resolve_asset
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.engine.local import LocalEngine
from accord.engine.local_chat import LocalChat
from accord.judges.both_orders import ask_both_orders
from accord.judges.constitution import read_constitution
from accord.judges.log_prob_judge import LOCAL_WORDING, LogProbJudge
from accord.judges.principle_judge import DrawnPrinciples
from accord.judges.wording import PairWording, Wording, transcript
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
            say = judge.wording.for_pair(*texts).messages
            ids, _ = judge.reader.fitted(_of_list(say), texts)
            logits = plain(input_ids=torch.tensor([ids])).logits[0, -1]
            odds = logits[yes].logsumexp(0) - logits[no].logsumexp(0)
            found.append(float(torch.sigmoid(odds)))
    return found


def _of_list(say: Callable[..., Any]) -> Callable[[Sequence[str]], Any]:
    return lambda texts: say(*texts)


def single_texts(plain: Any, encoder: ChatEncoder, questions: list[Any], length: int) -> list[str]:
    """What the library alone writes to each conversation, one call after the other."""
    found = []
    for messages in questions:
        ids = torch.tensor([encoder.encode_prompt(messages)])
        out = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=length,
            do_sample=False,
            pad_token_id=encoder.pad_id,
            eos_token_id=encoder.end_of_turn_id,
        )
        found.append(encoder.decode(out[0, ids.shape[1] :].tolist()))
    return found


def reasons(count: int, singles: int, length: int) -> None:
    """Both ways of writing, and how many texts differ."""
    prompts, a, b = pairs(count)
    wording = PairWording()
    texts = zip(map(transcript, prompts), a, b, strict=True)
    questions = [wording.thinking(*three) for three in texts]
    encoder = ChatEncoder(load_tokenizer(str(work.random_model())))
    questions = [q for q in questions if len(encoder.encode_prompt(q)) < 1024 - length]
    client = LocalChat(str(work.random_model()), LocalEngine)
    client.complete(questions[:1], temperature=0.0, max_tokens=1)  # loads the model
    replies, wall_s, cpu_s = timed(
        lambda: client.complete(questions, temperature=0.0, max_tokens=length)
    )
    plain = load_plain()
    said, single_wall_s, single_cpu_s = timed(
        lambda: single_texts(plain, encoder, questions[:singles], length)
    )
    differ = sum(x.text != y for x, y in zip(replies, said, strict=False))
    batched, single = cpu_s / len(questions), single_cpu_s / len(said)
    print(f"{len(questions)} texts of {length} tokens, {torch.get_num_threads()} threads; a text:")
    print(f"batched {batched:.3f} s of processor, {wall_s / len(questions):.3f} s of wall")
    print(f"single  {single:.3f} s of processor, {single_wall_s / len(said):.3f} s of wall")
    print(f"{single / batched:.1f}x by processor seconds; {differ} of {len(said)} texts differ")


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
    parser.add_argument("--reasons", type=int, default=0)
    parser.add_argument("--by_constitution", action="store_true")
    options = parser.parse_args()
    count = options.pairs
    work.random_model().parent.mkdir(parents=True, exist_ok=True)
    models.build_large()
    if options.reasons:
        reasons(count, options.singles, options.reasons)
        return
    prompts, a, b = pairs(count)
    wording: Wording = LOCAL_WORDING
    if options.by_constitution:  # the one that ships, a principle drawn for each pair
        wording = DrawnPrinciples(read_constitution(resolve_asset("accord:constitution.toml")))
    judge = LogProbJudge(work.random_model(), device=CPU, wording=wording)
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
