"""Classifiers of responses from our own reward-model code: refusal, and helpfulness.

    ACCORD_DATA=... python -m benchmarks.labelled_responses refusal
    ACCORD_DATA=... python -m benchmarks.labelled_responses helpful

refusal: completions of three models to XSTest's 450 prompts, by people's labels (a partial refusal
is one). helpful: responses of up to nine models to AlpacaEval's instructions, by the probability
that the stored judge gave them against the baseline. A fifth of the prompts is the test; a tenth of
the rest picks the moment and sets the temperature. No prompt is on two sides. Logistic regression
on words, from the same rows, is printed beside it, and for refusals the patterns that the suites
use. The same command resumes a run that was cut off.
"""

import argparse
import csv
import gzip
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.peers import work

from accord.annotation.classification import auroc, fpr_at_tpr
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.pairs import split_by_prompt
from accord.corpora.readers import read_rows
from accord.rewards.classifier import Classifier
from accord.stages.classification.config import Config
from accord.stages.classification.run import run
from accord.suites.refusals import refusals_by_words

MODELS = ("gpt4", "llama2new", "mistralinstruct")
MAX_LENGTH = 320


def refusals() -> list[dict[str, Any]]:
    """Completions with people's label; the column `group` tells safe prompts from unsafe ones."""
    found = []
    for model in MODELS:
        path = work.data() / f"redteam/xstest_completions_{model}.csv.gz"
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            found += [
                {
                    "prompt": row["prompt"],
                    "completion": row["completion"],
                    "label": {"refusal": not row["final_label"].startswith("1")},
                    "group": "unsafe" if row["type"].startswith("contrast") else "safe",
                }
                for row in csv.DictReader(file)
                if row["completion"].strip()
            ]
    return found


def helpful() -> list[dict[str, Any]]:
    """Responses with the judge's probability; the column `group` is long or short."""
    folder = work.data() / "preferences/alpaca-eval-ai"
    asked = {row["instruction_id"]: row for row in read_rows(str(folder / "prompts.jsonl.gz"))}
    rows = [row for row in read_rows(str(folder / "judged.jsonl.gz")) if row["output"].strip()]
    middle = float(np.median([len(row["output"]) for row in rows]))
    return [
        {
            "prompt": asked[row["instruction_id"]]["instruction"],
            "completion": row["output"],
            "label": {"helpful": row["p_preferred_over_baseline"]},
            "group": "long" if len(row["output"]) > middle else "short",
        }
        for row in rows
    ]


TASKS = {"refusal": refusals, "helpful": helpful}


def split(rows: Sequence[Any], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """(kept, held out), by prompt."""
    prompts = [({"role": "user", "content": row["prompt"]},) for row in rows]
    sides = split_by_prompt(prompts, fraction=share, seed=seed)  # type: ignore[arg-type]
    kept, held = ([rows[i] for i in side] for side in sides)
    return kept, held


def main() -> None:
    """Train, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    parser.add_argument("--rows", type=int, default=-1, help="of the training side; -1 all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = options.output_dir or Path("build/bench") / options.task
    kept, test = split(TASKS[options.task](), 0.2, seed=11)
    order = np.random.default_rng(0).permutation(len(kept))
    kept = [kept[i] for i in (order if options.rows < 0 else order[: options.rows])]
    sides = dict(zip(("train", "eval"), split(kept, 0.1, seed=12), strict=True)) | {"test": test}
    for name, side in sides.items():
        write_jsonl(folder / f"{name}.jsonl", side)
    config = Config.parse(
        {
            "model_name_or_path": work.base_model(),
            "dataset_name": [str(folder / "train.jsonl")],
            "eval_dataset_name": str(folder / "eval.jsonl"),
            "test_dataset_name": str(folder / "test.jsonl"),
            "num_train_epochs": options.epochs,
            "learning_rate": options.learning_rate,
            "per_device_train_batch_size": 16,
            "max_length": MAX_LENGTH,
            "weight_decay": 0.01,
            "eval_steps": 20,
            "save_steps": 100,
            "seed": options.seed,
        },
        where="benchmark",
    )
    start = time.perf_counter()
    found = run(config, RunDir(folder / "run"))
    figures = found.by_label[options.task]
    print(f"{found.rows} rows, {found.steps} steps, {time.perf_counter() - start:.0f} s")
    print(f"{found.heldout_rows} test rows, accuracy {found.accuracy:.4f}")
    print(f"ours:   AUROC {figures['auroc']:.4f}, FPR at 95% TPR {figures['fpr_at_95_tpr']:.4f}")
    print(f"TF-IDF: AUROC {found.tfidf['auroc']:.4f}, accuracy {found.tfidf['accuracy']:.4f}")
    calibration = found.calibration
    print(f"ECE {calibration['error']:.4f} -> {calibration['error_with_temperatures']:.4f}")
    report_groups(found.model, test, options.task)


def report_groups(model: Path, test: Sequence[Any], label: str) -> None:
    """The same by group, and for refusals how often the suites' patterns say as people do."""
    classifier = Classifier(str(model), device=torch.device("cpu"), max_length=MAX_LENGTH)
    prompts = [[{"role": "user", "content": row["prompt"]}] for row in test]
    texts = [row["completion"] for row in test]
    given = classifier.probabilities(prompts, texts)[:, 0].numpy()  # type: ignore[arg-type]
    is_so = np.array([float(row["label"][label]) > 0.5 for row in test])
    for group in sorted({row["group"] for row in test}):
        here = np.array([row["group"] == group for row in test])
        area, false = auroc(given[here], is_so[here]), fpr_at_tpr(given[here], is_so[here])
        print(f"  {group} ({int(here.sum())}): AUROC {area:.4f}, FPR at 95% TPR {false:.4f}")
    if label == "refusal":
        said = np.array(refusals_by_words([row["prompt"] for row in test], texts))
        ours = ((given > 0.5) == is_so).mean()
        print(f"patterns: accuracy {(said == is_so).mean():.4f}; ours {ours:.4f}")


if __name__ == "__main__":
    main()
