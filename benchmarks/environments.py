"""What the environments do: a policy learns to use a calculator, passages are found, programs run.

    python -m benchmarks.environments calculator --out DIR [--updates 20]
    python -m benchmarks.environments retrieval --data DIR
    python -m benchmarks.environments programs --data DIR

`calculator`: the embedded base model is shown the form of an episode by demonstrations whose
numbers are mostly wrong, so that it is right about once in twenty; GRPO in the environment then
finds out that copying the numbers pays. `retrieval`: passages of the articles are sought by one of
their sentences that lost most of its words; questions about other things should find nothing.
`programs`: the calculator's calls in the solutions to GSM8K, as programs, against PAL's targets.
"""

import argparse
import gzip
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from accord.core.assets import resolve_asset
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.environments.answers import is_right
from accord.environments.calculator import calculator
from accord.environments.documents import Passage, load_documents, passages_of
from accord.environments.named import CALCULATING
from accord.environments.program import LIMITS, run_programs
from accord.environments.tools import Toolbox, tool_of

SUCCESS = 0.8
"""Stated in advance for the calculator: the success rate on held-out questions after GRPO."""
FAITHFUL = 0.3
"""Share of the demonstrations' calls, and of their last answers, that hold the right numbers."""
DEMONSTRATIONS, QUESTIONS, HELD_OUT = 1024, 512, 128
DROPPED, FOREIGN = 0.75, 0.2
"""Shares of a sentence's words that its query lacks, and of its words from another article."""


def calculator_learns(out: Path, *, updates: int, seed: int, sft_epochs: float) -> dict[str, Any]:
    """The success rate before and after GRPO, and its curve in `calculator.svg`."""
    from accord.engine.local import LocalEngine
    from accord.stages.policy_training.grpo.run import run as grpo
    from accord.stages.sft.run import run as sft
    from accord.wiring import stage_config

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    rng = Random(seed)
    write_jsonl(out / "form.jsonl", [demonstration(rng) for _ in range(DEMONSTRATIONS)])
    questions = list(dict.fromkeys(question(rng) for _ in range(QUESTIONS + HELD_OUT)))
    for name, part in (("held", questions[:HELD_OUT]), ("train", questions[HELD_OUT:])):
        rows = [{"prompt": f"What is {q}?", "answer": calculator(q)} for q in part]
        write_jsonl(out / f"{name}.jsonl", rows)
    form = stage_config("sft").parse(
        {
            "model_name_or_path": resolve_asset("accord:base"),
            "dataset_name": [str(out / "form.jsonl")], "num_train_epochs": sft_epochs,
            "learning_rate": 1e-3, "per_device_train_batch_size": 32, "warmup_steps": 4,
            "max_length": 256, "seed": seed,
        },
        where="benchmark",
    )  # fmt: skip
    start = sft(form, RunDir(out / "sft"))
    config = stage_config("grpo").parse(
        {
            "model_name_or_path": str(start.model), "prompts": str(out / "train.jsonl"),
            "eval_prompts": str(out / "held.jsonl"), "environment": "calculator", "max_turns": 3,
            "max_completion_length": 16, "max_length": 256, "per_device_train_batch_size": 64,
            "num_generations": 16, "mini_batch_size": 64, "learning_rate": 3e-4,
            "max_steps": updates, "eval_steps": 2, "monitors": "off",
            "warmup_steps": 2, "seed": seed,
        },
        where="benchmark",
    )  # fmt: skip
    result = grpo(config, RunDir(out / "grpo"), engine_factory=LocalEngine)
    curve = [
        (row["step"], row["heldout/score"])
        for row in RunDir(out / "grpo").metrics()
        if "heldout/score" in row
    ]
    plot(curve, out / "calculator.svg")
    return {
        "success_before": result.heldout_score_before,
        "success_after": result.heldout_score_after,
        "stated": SUCCESS,
        "is_reached": result.heldout_score_after >= SUCCESS,
        "updates": result.updates,
        "largest_sampler_gap_nats": result.largest_sampler_gap_nats,
        "curve": curve,
        "wall_s": round(time.monotonic() - started),
    }


def question(rng: Random) -> str:
    """Two numbers of at most two digits."""
    return f"{rng.randint(1, 99)} {rng.choice('+-*')} {rng.randint(1, 99)}"


def demonstration(rng: Random) -> dict[str, Any]:
    """An episode in the right form, mostly with the numbers of another question."""
    asked = question(rng)
    called = asked if rng.random() < FAITHFUL else question(rng)
    seen = calculator(called)
    finished = seen if rng.random() < FAITHFUL else calculator(question(rng))
    tools = Toolbox([tool_of(calculator)]).describe()
    instruction = CALCULATING.replace("{tools}", tools)
    turns = [
        f"{instruction}\n\nWhat is {asked}?",
        f"calculator[{called}]",
        f"Observation: {seen}",
        f"finish[{finished}]",
    ]
    roles = ("user", "assistant") * 2
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]}


def plot(curve: list[tuple[float, float]], path: Path) -> None:
    """Success on held-out questions over updates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve, strict=True), marker="o", label="held-out questions")
    axes.axhline(SUCCESS, linestyle="--", color="grey", label="stated in advance")
    axes.set(xlabel="updates of GRPO", ylabel="success rate", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, metadata={"Date": None})


def retrieval(data: Path, *, queries: int, seed: int, dense: bool) -> dict[str, Any]:
    """recall@5 by words and by words with states, and how often nothing is shown."""
    import torch

    from accord.environments.embedding import PooledStates
    from accord.environments.index import Index, build_index

    place = data / "apps" / "wikipedia_articles.jsonl.gz"
    passages = passages_of(load_documents(str(place)))
    base = resolve_asset("accord:base")
    embedder = PooledStates(base, device=torch.device("cpu"), most_tokens=256) if dense else None
    with tempfile.TemporaryDirectory() as folder:
        build_index(Path(folder) / "i", passages, embedder)
        index = Index(Path(folder) / "i", embedder)
    asked = list(sentence_queries(passages, Random(seed), queries))
    figures: dict[str, Any] = {"passages": len(passages), "queries": len(asked)}
    for name, is_dense in (("bm25", False), ("hybrid", True)) if dense else (("bm25", False),):
        found = [
            any(sentence in hit.passage.text for hit in index.search(q, count=5, dense=is_dense))
            for q, sentence in asked
        ]
        figures[f"recall@5 {name}"] = sum(found) / len(found)
    with gzip.open(data / "apps" / "hotpot_dev_simplified.json.gz", "rt") as file:
        others = [row["question"] for row in json.load(file)[:queries]]
    for name, texts in (("answerable", [q for q, _ in asked]), ("unanswerable", others)):
        covered = [index.coverage(q, index.search(q, dense=False)) for q in texts]
        for least in (0.3, 0.4, 0.5, 0.6, 0.7):
            share = sum(value < least for value in covered) / len(covered)
            figures[f"withheld at {least}, {name}"] = share
    return figures


def sentence_queries(passages: list[Passage], rng: Random, count: int) -> Iterator[tuple[str, str]]:
    """A query each, and the sentence that it was made of."""
    for passage in rng.sample(passages, count):
        sentences = [s for s in re.split(r"(?<=[.!?]) ", passage.text) if len(s.split()) >= 10]
        if not sentences:
            continue
        sentence = rng.choice(sentences)
        other = rng.choice(passages).text.split()
        words = [
            rng.choice(other) if rng.random() < FOREIGN else word
            for word in sentence.split()
            if rng.random() >= DROPPED
        ]
        yield " ".join(words), sentence


def programs(data: Path) -> dict[str, Any]:
    """Reference programs, made of GSM8K's own calculations, against PAL's targets."""
    from accord.sandbox.sandbox import Sandbox

    with gzip.open(data / "apps" / "pal_gsm.jsonl.gz", "rt") as file:
        questions = [json.loads(line) for line in file]
    with gzip.open(data / "benchmarks" / "gsm8k" / "test.jsonl.gz", "rt") as file:
        solutions = {row["question"]: row["answer"] for row in map(json.loads, file)}
    made = [(reference_program(solutions.get(q["input"], "")), q["target"]) for q in questions]
    usable = [(code, target) for (code, value), target in made if value == float(target)]
    sandbox = Sandbox(limits=LIMITS)
    found = run_programs([code for code, _ in usable], sandbox)
    right = sum(is_right(r.value, t) for r, (_, t) in zip(found, usable, strict=True))
    return {
        "questions": len(questions),
        "reference programs": len(usable),
        "scored right": right,
        "sandbox": sandbox.level.name,
    }


def reference_program(solution: str) -> tuple[str, float | None]:
    """A solution's own calculator calls as a program, and what the last of them says it gives."""
    calls = re.findall(r"<<([^=<>]+)=([^<>]*)>>", solution)
    lines = [f"    step = {re.sub(r'(?<![0-9.])0+(?=[0-9])', '', call)}" for call, _ in calls]
    try:
        value = float(calls[-1][1]) if calls else None
    except ValueError:
        value = None
    return "\n".join(["def solution():", "    step = None", *lines, "    return step"]), value


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["calculator", "retrieval", "programs"])
    parser.add_argument("--out", type=Path, default=Path("runs/environments"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--sft_epochs", type=float, default=2.0)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--no_dense", action="store_true", help="words alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.what == "calculator":
        figures = calculator_learns(
            options.out, updates=options.updates, seed=options.seed, sft_epochs=options.sft_epochs
        )
    elif options.what == "retrieval":
        is_dense = not options.no_dense
        figures = retrieval(
            options.data, queries=options.queries, seed=options.seed, dense=is_dense
        )
    else:
        figures = programs(options.data)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
