"""GCG against random search at equal queries, paired over behaviours that ship.

    python -m benchmarks.gcg --model MODEL --behaviours 20 --steps 20 --candidates 32

Both search a suffix of twelve tokens that makes the model begin its reply as the behaviour's target
does ("Sure, here is how to ..."), from the same start, replacing one token at a time and never
leaving texts that the tokenizer reads back. A gradient counts as three forward passes, which the
random search has as candidates more. The figure is the loss in nats a token of the target; the
interval resamples behaviours.
"""

import argparse
import json
import time
from typing import Any

import torch

from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.win_rates import mcnemar
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import evaluating, load_policy, load_tokenizer
from accord.red_team.behaviours import Behaviour, load_behaviours, shipped_behaviours
from accord.red_team.gcg import Found, greedy_coordinate_gradient, random_search
from accord.red_team.suffix import SuffixLoss

CPU = torch.device("cpu")
OF_A_GRADIENT = 3


def main() -> None:
    """Print a line a behaviour and the paired difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a policy's directory")
    parser.add_argument("--file", help="behaviours with targets; those that ship unless told")
    parser.add_argument("--behaviours", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--length", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    behaviours = load_behaviours(options.file) if options.file else shipped_behaviours()
    policy = load_policy(options.model, device=CPU)
    encoder = ChatEncoder(load_tokenizer(options.model))
    started = time.perf_counter()
    rows = []
    with evaluating(policy):
        for behaviour in behaviours[: options.behaviours]:
            rows.append(searched(policy, encoder, behaviour, options))
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows) | {"seconds": round(time.perf_counter() - started)}, indent=1))


def searched(
    policy: Any, encoder: ChatEncoder, behaviour: Behaviour, options: Any
) -> dict[str, Any]:
    """Both searches' final losses, whether greedy decoding then begins as wanted, and queries."""
    if behaviour.target is None:
        raise SystemExit(f"behaviour {behaviour.id} names no target")
    row: dict[str, Any] = {"id": behaviour.id}
    for name, extra in (("gcg", 0), ("random", OF_A_GRADIENT)):
        loss = SuffixLoss(policy, encoder, behaviour.text, behaviour.target, length=options.length)
        search = greedy_coordinate_gradient if name == "gcg" else random_search
        found = search(
            loss, steps=options.steps, candidates=options.candidates + extra, seed=options.seed
        )
        row["start"] = round(found.path[0], 4)
        row[name] = round(found.loss, 4)
        row[f"{name}_tokens_greedy"] = greedy_share(loss, found)
        row[f"{name}_queries"] = loss.queries
    return row


@torch.no_grad()
def greedy_share(loss: SuffixLoss, found: Found) -> float:
    """The share of the target's tokens that are the likeliest, each after the right ones."""
    frame = loss.frame
    ids = torch.tensor([[*frame.before, *found.suffix, *frame.after, *frame.target]])
    count = len(frame.target)
    likeliest = loss.model(ids).logits[0, -count - 1 : -1].argmax(-1)
    return round(float((likeliest == ids[0, -count:]).float().mean()), 3)


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means, the paired difference with its interval, and who was lower how often."""
    ids = [row["id"] for row in rows]
    gaps = [row["gcg"] - row["random"] for row in rows]
    low, high = cluster_bootstrap(gaps, ids, seed=0)
    won = [float(gap < 0) for gap in gaps]
    return {
        "behaviours": len(rows),
        "start": mean(rows, "start"),
        "gcg": mean(rows, "gcg"),
        "random": mean(rows, "random"),
        "difference": round(sum(gaps) / len(gaps), 4),
        "interval_95": [round(low, 4), round(high, 4)],
        "gcg_lower_on": sum(map(int, won)),
        "sign_test_p": mcnemar(won, [1 - w for w in won]).p_value,
        "greedy_tokens": {n: mean(rows, f"{n}_tokens_greedy") for n in ("gcg", "random")},
        "queries": {n: mean(rows, f"{n}_queries") for n in ("gcg", "random")},
    }


def mean(rows: list[dict[str, Any]], name: str) -> float:
    """Of a column."""
    return round(sum(row[name] for row in rows) / len(rows), 4)


if __name__ == "__main__":
    main()
