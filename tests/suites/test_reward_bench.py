"""Accuracies by hand, Ties against a plain reading of its formula, and an implicit reward."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accord.core.errors import DataError
from accord.core.types import Message, Scores
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_policy, load_tokenizer
from accord.rewards.implicit import ImplicitReward
from accord.suites.reward_bench import SECTIONS, RankedRow, read_reward_bench, reward_bench

NAN = float("nan")


class NumberReward:
    """Scores a response by the number that it is."""

    def score(self, prompts: Any, responses: Sequence[str], **_: Any) -> Scores:
        assert len(prompts) == len(responses)
        return Scores([float(text) for text in responses])


def row(subset: str, chosen: Any, rejected: Any, id: str = "0") -> RankedRow:
    def texts(values: Any) -> tuple[str, ...]:
        return tuple(str(v) for v in (values if isinstance(values, tuple) else (values,)))

    prompt = (Message(role="user", content="Q"),)
    return RankedRow(id, subset, prompt, texts(chosen), texts(rejected), "file, line 1")


def test_pairs_by_hand() -> None:
    # Right, wrong, equal (wrong), without a score (wrong).
    rows = [row("mine", 2, 1), row("mine", 1, 2), row("mine", 1, 1), row("mine", NAN, 1)]
    found = reward_bench(rows, NumberReward())
    assert found.figures["mine"].value == 0.25
    assert found.figures["accuracy"].n == 4
    assert found.notes == ["1 rows have a response without a score: counted wrong"]
    assert [r["right"] for r in found.rows] == [1, 0, 0, 0]
    assert "score" not in found.figures
    json.dumps(found.rows, allow_nan=False)


def test_best_of_four_shares_the_top() -> None:
    rows = [row("Math", 3, (1, 2, 0)), row("Math", 3, (3, 2, 0)), row("Math", 3, (4, 0, 0))]
    found = reward_bench(rows, NumberReward())
    assert [r["right"] for r in found.rows] == [1, 0.5, 0]


def test_sections_weigh_subsets_by_their_rows() -> None:
    rows = [row("mt-bench-easy", 1, 0)] * 3 + [row("alpacaeval-easy", 0, 1)]
    assert reward_bench(rows, NumberReward()).figures["Chat"].value == 0.75
    # Of mathematics 447 rows count as 984, as many as code has.
    rows = [row("math-prm", 1, 0)] * 447 + [row("hep-go", 0, 1)] * 984
    reasoning = reward_bench(rows, NumberReward()).figures["Reasoning"]
    assert reasoning.value == pytest.approx(0.5)
    assert reasoning.low < 0.5 < reasoning.high


def test_the_score_needs_every_subset_and_is_the_mean_of_sections() -> None:
    rows = [row(name, int(s == "Chat"), 0) for s, names in SECTIONS.items() for name in names]
    figures = reward_bench(rows, NumberReward()).figures
    assert figures["score"].value == 0.25 and figures["Chat"].value == 1
    assert "score" not in reward_bench(rows[1:], NumberReward()).figures


def by_hand(prompts: dict[str, tuple[list[float], list[float]]]) -> float:
    """Ties as the formula reads, one prompt at a time."""
    kinds: dict[str, dict[str, tuple[float, float]]] = {"ref": {}, "tied": {}}
    for name, (right, wrong) in prompts.items():
        kind, number = name.split(":")
        kinds[kind][number] = (max(right) - min(right), min(right) - max(wrong))
    accuracy = {k: np.mean([m > 0 for _, m in v.values()]) for k, v in kinds.items()}
    soft, hard, margin = [], [], []
    for number, (spread, tied) in kinds["tied"].items():
        least = min(tied, kinds["ref"][number][1])
        soft.append(tied > spread)
        hard.append(least > spread)
        if spread:
            margin.append(math.tanh(least / spread - 1))
        else:
            margin.append(float(np.sign(least)))
    return float(
        0.3 * accuracy["tied"] + 0.3 * accuracy["ref"]
        + 0.2 * np.mean(soft) + 0.2 * np.mean(hard) + 0.01 * np.mean(margin)
    )  # fmt: skip


def test_ties() -> None:
    rng = np.random.default_rng(0)
    prompts = {}
    for number in range(30):
        quality = rng.normal(1.0, 0.5, 4).tolist()
        prompts[f"tied:{number}"] = (quality, rng.normal(-1.0, 0.7, 3).tolist())
        prompts[f"ref:{number}"] = (quality[:1], rng.normal(-0.3, 0.7, 3).tolist())
    prompts["tied:30"], prompts["ref:30"] = ([1.0, 1.0], [0.0]), ([1.0], [0.0])
    prompts["tied:31"], prompts["ref:31"] = ([1.0, 1.0], [1.0]), ([1.0], [1.0])
    rows = [row("Ties", tuple(r), tuple(w), id=name) for name, (r, w) in prompts.items()]
    found = reward_bench(rows, NumberReward()).figures
    assert found["Ties"].value == pytest.approx(by_hand(prompts), abs=1e-12)
    assert found["ties_preferred"].value > found["ties_preferred_hard"].value > 0
    assert found["Ties"].low < found["Ties"].value < found["Ties"].high
    assert found["Ties"].n == 32 and "accuracy" not in found
    perfect = [row("Ties", (1, 1), (0,), "tied:0"), row("Ties", 1, 0, "ref:0")]
    assert reward_bench(perfect, NumberReward()).figures["Ties"].value == pytest.approx(1.01)
    silent = [row("Ties", (NAN, 1), (0,), "tied:0"), row("Ties", 1, 0, "ref:0")]
    assert reward_bench(silent, NumberReward()).figures["Ties"].value == pytest.approx(0.3)


def test_the_second_score_is_the_mean_of_six_subsets() -> None:
    rows = [row(name, 1, (0, 0, 0)) for name in ("Factuality", "Precise IF", "Math", "Safety")]
    rows += [row("Focus", 0, (1, 0, 0))]
    rows += [row("Ties", (1, 1), (0,), "tied:0"), row("Ties", 1, 0, "ref:0")]
    figures = reward_bench(rows, NumberReward()).figures
    assert figures["score_2"].value == pytest.approx((4 + 0 + 1.01) / 6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("Ties", (1, 1), (0,), "7"), "line 1: id '7'; expected ref:N or tied:N"),
        (row("Ties", 1, 0, "tied:1"), "line 1: a tied prompt needs two right answers"),
    ],
)
def test_ties_that_cannot_be_scored(bad: RankedRow, message: str) -> None:
    with pytest.raises(DataError, match=message):
        reward_bench([bad], NumberReward())


def test_files(tmp_path: Path) -> None:
    def write(**changes: Any) -> Path:
        good = {"prompt": "Q", "chosen": "a", "rejected": "b", "subset": "s", "id": 7}
        path = tmp_path / "rows.jsonl"
        path.write_text(json.dumps(good) + "\n" + json.dumps({**good, **changes}))
        return path

    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    first, second = read_reward_bench(
        write(prompt=messages, chosen=["a", "b"], rejected=["c"], id="ref:1")
    )
    assert (first.id, first.chosen, first.prompt[0]["role"]) == ("7", ("a",), "user")
    assert (second.chosen, second.id) == (("a", "b"), "ref:1")
    assert [m["role"] for m in second.prompt] == ["system", "user"]
    assert read_reward_bench(write(id=None))[1].id == "1"
    for field in ("prompt", "chosen", "rejected", "subset"):
        with pytest.raises(DataError, match=rf"rows\.jsonl, line 2: field '{field}' is missing"):
            read_reward_bench(write(**{field: None}))
    with pytest.raises(DataError, match="line 2: field 'rejected' .* a list of texts"):
        read_reward_bench(write(rejected=[]))
    with pytest.raises(ValueError, match="no rows to score"):
        reward_bench([], NumberReward())


def test_an_implicit_reward(tiny_model_dir: Path) -> None:
    """A policy with a likelier word implies a reward for it; one without has no opinion."""
    cpu = torch.device("cpu")
    policy: Any = load_policy(str(tiny_model_dir), device=cpu)
    reference = load_policy(str(tiny_model_dir), device=cpu)
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    token = encoder.encode_text("y")[0]
    rows = [row("mine", "y" * n, "n" * n) for n in range(1, 4)]
    make: Callable[[Any], ImplicitReward] = lambda model: ImplicitReward(  # noqa: E731
        model, reference, encoder, beta=0.1, device=cpu, max_length=64
    )
    assert reward_bench(rows, make(reference)).figures["accuracy"].value == 0.0
    head = policy.get_output_embeddings()
    bias = torch.zeros(head.out_features)
    bias[token] = 5.0
    head.bias = torch.nn.Parameter(bias)
    assert reward_bench(rows, make(policy)).figures["accuracy"].value == 1.0
