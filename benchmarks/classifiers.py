"""A classifier of hate and offence on Davidson's tweets, from our own reward-model code.

    ACCORD_DATA=... python -m benchmarks.classifiers --epochs 2 --output_dir runs/davidson

A fifth of the tweets is the test, drawn by seed 0; a tenth of the rest picks the moment and sets
the temperature. Repeated tweets are on one side only. Logistic regression on words and word pairs,
from the same rows, is printed beside it. The same command resumes a run that was cut off.
"""

import argparse
import csv
import gzip
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.peers import work

from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.stages.classification.config import Config
from accord.stages.classification.run import run

CLASSES = ("hate", "offensive", "neither")
TERMS = ["women", "black", "white", "gay", "muslim", "jews"]


def rows() -> list[dict[str, Any]]:
    """All tweets with their majority's class."""
    path = work.data() / "classifiers/davidson_hate_offensive.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return [
            {"text": row["tweet"], "label": CLASSES[int(row["class"])]}
            for row in csv.DictReader(file)
        ]


def split(found: list[dict[str, Any]], share: float, seed: int) -> tuple[list[Any], list[Any]]:
    """(kept, held out), by text."""
    texts = sorted({row["text"] for row in found})
    rng = np.random.default_rng(seed)
    held = {text for text in texts if rng.random() < share}
    kept = [row for row in found if row["text"] not in held]
    return kept, [row for row in found if row["text"] in held]


def main() -> None:
    """Train, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("build/bench/davidson"))
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--learning_rate", type=float, default=5e-4)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    train, test = split(rows(), 0.2, seed=0)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    for name, side in (("train", train), ("test", test)):
        write_jsonl(options.output_dir / f"{name}.jsonl", side)
    config = Config.parse(
        {
            "model_name_or_path": work.base_model(),
            "dataset_name": [str(options.output_dir / "train.jsonl")],
            "test_dataset_name": str(options.output_dir / "test.jsonl"),
            "num_train_epochs": options.epochs,
            "learning_rate": options.learning_rate,
            "per_device_train_batch_size": options.batch,
            "max_length": 256,
            "warmup_steps": 50,
            "weight_decay": 0.01,
            "eval_steps": 200,
            "save_steps": 200,
            "seed": options.seed,
            "subgroup_terms": TERMS,
        },
        where="benchmark",
    )
    start = time.perf_counter()
    found = run(config, RunDir(options.output_dir / "run"))
    print(f"{found.rows} rows, {found.steps} steps, {time.perf_counter() - start:.0f} s")
    print(f"ours:   accuracy {found.accuracy:.4f}, macro-F1 {found.macro_f1:.4f}")
    print(f"TF-IDF: accuracy {found.tfidf['accuracy']:.4f}, macro-F1 {found.tfidf['macro_f1']:.4f}")
    assert found.balanced
    print("with balance {balance:.2f}: {accuracy:.4f}, {macro_f1:.4f}".format(**found.balanced))
    toxic = found.by_label["neither"]
    print(f"toxic or not: AUROC {toxic['auroc']:.4f}")
    for name, figures in found.by_label.items():
        print(f"  {name}: AUROC {figures['auroc']:.4f}, FPR {figures['fpr_at_95_tpr']:.4f}")
    calibration = found.calibration
    print(f"ECE {calibration['error']:.4f} -> {calibration['error_with_temperatures']:.4f}")
    for term, by_label in found.subgroups.items():
        of = by_label["neither"]
        print(f"  {term} ({of['rows']}): subgroup {of['subgroup']:.3f}, bpsn {of['bpsn']:.3f}")


if __name__ == "__main__":
    main()
