"""What a language model's reward gains from aggregated labels, and from chosen ones.

    python -m benchmarks.quickstart_labels votes --run runs/quickstart --output build/labels
    python -m benchmarks.quickstart_labels active --run runs/quickstart --output build/labels

The pairs are those of a finished quickstart, the truth is its rule scorer, and the reward model is
trained from its SFT model by the stage itself. `votes`: a crowd with 30% bad annotators judges each
training pair three times; raw votes, their majority, and soft labels of the one-coin model train a
reward each, which is tested on the truth of other prompts' pairs. `active`: one annotator, right
nine times of ten, judges pairs in batches, drawn at random or where an ensemble disagrees.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.aggregation import hard, raw, soft

from accord.annotation.aggregation import one_coin
from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.simulation import crowd_with_bad_ones, simulate_votes
from accord.core.device import default_device
from accord.core.files import write_jsonl
from accord.core.types import PromptRow
from accord.corpora.sample_set import quality
from accord.judges.pairing import Pair
from accord.pipeline import execute
from accord.rewards.learned import LearnedReward
from accord.stages.preferences.choosing import choose_pairs
from accord.stages.preferences.config import Config
from accord.wiring import stage_config

WAYS = {"raw votes": raw, "majority": hard, "one coin": lambda s: soft(s, one_coin(s.votes))}
MEMBERS, ERROR = 4, 0.1
MAX_LENGTH = 160


def pairs_of(run: Path, names: Sequence[str]) -> tuple[list[Pair], Any]:
    """Pairs on which the scorer has an opinion, and whether a is the better."""
    known = {
        json.dumps(row["prompt"]): row
        for split in ("train", "validation")
        for row in _rows(run / f"sample/prompts-{split}.jsonl")
    }
    rows = [row for name in names for row in _rows(run / f"preferences/{name}.jsonl")]
    # What the scorer reads stands beside the prompts, not beside the sample set's own pairs.
    columns = {
        key: [known[json.dumps(row["prompt"])][key] for row in rows]
        for key in ("kind", "required", "answer", "distractors")
    }
    prompts = [row["prompt"] for row in rows]
    scores = [
        np.array(quality([row[side] for row in rows], prompts, **columns))
        for side in ("chosen", "rejected")
    ]
    pairs, is_a = [], []
    for row, gap in zip(rows, scores[0] - scores[1], strict=True):
        sides = [row["chosen"][0]["content"], row["rejected"][0]["content"]]
        if gap != 0:
            pairs.append(Pair(PromptRow(tuple(row["prompt"]), {}), *sorted(sides)))
            is_a.append((gap > 0) == (pairs[-1].response_a == sides[0]))
    return pairs, np.array(is_a, dtype=float)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(pairs: Sequence[Pair], p_a: Any, run: Path, path: Path, **values: Any) -> LearnedReward:
    """A reward model from the SFT model, by the quickstart's settings."""
    rows = [
        {
            "prompt": list(pair.row.prompt),
            "chosen": [{"role": "assistant", "content": pair.response_a}],
            "rejected": [{"role": "assistant", "content": pair.response_b}],
            "p_chosen": float(p),
        }
        for pair, p in zip(pairs, p_a, strict=True)
    ]
    write_jsonl(path.with_suffix(".jsonl"), rows)
    settings = {
        "model_name_or_path": str(run / "sft/model"),
        "comparisons": [str(path.with_suffix(".jsonl"))],
        "learning_rate": 3e-4,
        "per_device_train_batch_size": 32,
        "num_train_epochs": 1,
        "max_length": MAX_LENGTH,
        "bf16": True,
        "eval_steps": 20,
        **values,
    }
    execute("reward", stage_config("reward").parse(settings, where="benchmark"), path, force=True)
    return LearnedReward(str(path / "model"), device=default_device(), max_length=MAX_LENGTH)


def is_right(reward: LearnedReward, pairs: Sequence[Pair], is_a: Any) -> Any:
    """(N,) whether the reward is on the true side of each pair."""
    none: list[tuple[int, ...]] = [()] * len(pairs)
    prompts = [pair.row.prompt for pair in pairs]
    sides = [
        np.array(
            reward.score(
                prompts, texts, prompt_ids=none, response_ids=none, columns=[{}] * len(pairs)
            ).values
        )
        for texts in ([p.response_a for p in pairs], [p.response_b for p in pairs])
    ]
    return ((sides[0] > sides[1]) == (is_a > 0.5)).astype(float)


def votes(run: Path, output: Path, seeds: Sequence[int], count: int) -> None:
    """Accuracy by way and seed, and soft labels' gains with intervals over the test pairs."""
    pool, truth = pairs_of(run, ["comparisons"])
    test, test_truth = pairs_of(run, ["heldout_comparisons", "judge_comparisons"])
    found: dict[str, list[Any]] = {name: [] for name in WAYS}
    for seed in seeds:
        chosen = np.random.default_rng(seed).permutation(len(pool))[:count]
        pairs, p_true = [pool[i] for i in chosen], truth[chosen]
        crowd = crowd_with_bad_ones(20, bad_share=0.3, seed=seed)
        simulated = simulate_votes(crowd, p_true[None], per_task=3, seed=seed)
        for name, way in WAYS.items():
            labels = way(simulated)
            rows = [pairs[i] for i in labels.pair]
            path = output / f"votes-{name.replace(' ', '-')}-{seed}"
            found[name].append(
                is_right(train(rows, labels.p_a, run, path, seed=seed), test, test_truth)
            )
            print(f"seed {seed}, {name}: {found[name][-1].mean():.4f}", flush=True)
    print(f"\n{len(pairs)} pairs, 3 votes each, {len(test)} test pairs")
    for other in ("majority", "raw votes"):
        gaps = [a - b for a, b in zip(found["one coin"], found[other], strict=True)]
        cells = [
            "{:+.3f} ({:+.3f} to {:+.3f})".format(
                gap.mean(), *cluster_bootstrap(gap, range(len(gap)), seed=0)
            )
            for gap in gaps
        ]
        print(f"one coin less {other}: {'; '.join(cells)}; mean {np.mean(gaps):+.4f}")


def active(run: Path, output: Path, seeds: Sequence[int], batch: int, batches: int) -> None:
    """Accuracy after every batch, at random and by choice."""
    pool, truth = pairs_of(run, ["comparisons"])
    test, test_truth = pairs_of(run, ["heldout_comparisons", "judge_comparisons"])
    curves: dict[bool, list[list[float]]] = {False: [], True: []}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        answers = np.where(rng.random(len(pool)) < ERROR, 1 - truth, truth)
        number = {id(pair): i for i, pair in enumerate(pool)}
        for by_choice in (False, True):
            asked: list[int] = []
            curve: list[float] = []
            path = output / f"active-{by_choice}-{seed}"
            for turn in range(batches):
                done = set(asked)
                left = [pair for i, pair in enumerate(pool) if i not in done]
                settings: dict[str, Any] = {"project": "benchmark", "max_judged_pairs": batch}
                settings |= {"seed": 100 * seed + turn, "max_length": MAX_LENGTH}
                if by_choice and asked:
                    settings["choose_by"] = [str(path / "model")]
                # The columns that tell propensities are put on copies: places find the originals.
                rows = [Pair(PromptRow(p.row.prompt, {"at": number[id(p)]}), p.response_a,
                             p.response_b) for p in left]  # fmt: skip
                drawn = choose_pairs(rows, Config.parse(settings, where="benchmark"))
                asked += [int(pair.row.columns["at"]) for pair in drawn]
                pairs = [pool[i] for i in asked]
                epochs = max(1, math.ceil(1000 / len(asked)))
                reward = train(pairs, answers[asked], run, path, seed=seed, members=MEMBERS,
                               num_train_epochs=epochs)  # fmt: skip
                curve.append(float(is_right(reward, test, test_truth).mean()))
                name = "chosen" if by_choice else "random"
                print(f"seed {seed}, {name}, {len(asked)} labels: {curve[-1]:.4f}", flush=True)
            curves[by_choice].append(curve)
    means = {by_choice: np.mean(found, axis=0) for by_choice, found in curves.items()}
    print(
        f"\n{len(pool)} pairs in the pool, {len(test)} test pairs\n\n| labels | random | chosen |"
    )
    print("|---|---|---|")
    for turn in range(batches):
        print(f"| {(turn + 1) * batch} | {means[False][turn]:.3f} | {means[True][turn]:.3f} |")
    for turn in range(2, batches):
        enough = np.flatnonzero(means[True] >= means[False][turn])
        needed = (enough[0] + 1) * batch if len(enough) else "more than all"
        print(f"for what {(turn + 1) * batch} random labels reach, chosen: {needed}")


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["votes", "active"])
    parser.add_argument("--run", type=Path, required=True, help="directory of a quickstart")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=2000, help="votes: training pairs")
    parser.add_argument("--batch", type=int, default=150, help="active: labels between fits")
    parser.add_argument("--batches", type=int, default=8)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if given.what == "votes":
        votes(given.run, given.output, given.seeds, given.pairs)
    else:
        active(given.run, given.output, given.seeds, given.batch, given.batches)


if __name__ == "__main__":
    main()
