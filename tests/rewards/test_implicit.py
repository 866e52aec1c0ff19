"""The implicit reward against plain log-softmax, and that batches do not matter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.errors import DataError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_policy, load_tokenizer
from accord.rewards.implicit import ImplicitReward

CPU = torch.device("cpu")
PROMPTS: list[list[Message]] = [[{"role": "user", "content": f"Say {n}"}] for n in range(3)]
TEXTS = ["yes", "no, never, for I don't know", "12 and 7 are 19"]


def other(model: Any) -> Any:
    """The same model, moved a little."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return model


def implied(folder: Path, **options: Any) -> ImplicitReward:
    policy = other(load_policy(str(folder), device=CPU))
    encoder = ChatEncoder(load_tokenizer(str(folder)))
    options = {"beta": 0.3, "device": CPU, "max_length": 128, **options}
    return ImplicitReward(policy, load_policy(str(folder), device=CPU), encoder, **options)


def score(reward: ImplicitReward, prompts: Any = PROMPTS, texts: Any = TEXTS) -> list[float]:
    ids = [()] * len(texts)
    columns = [{}] * len(texts)
    found = reward.score(prompts, texts, prompt_ids=ids, response_ids=ids, columns=columns)
    return list(found.values)


def test_against_log_softmax(tiny_model_dir: Path) -> None:
    reward = implied(tiny_model_dir)
    expected = []
    for prompt, text in zip(PROMPTS, TEXTS, strict=True):
        start = reward.encoder.encode_prompt(prompt)
        answer = reward.encoder.encode_response(text)
        total = 0.0
        for sign, model in ((1, reward.policy), (-1, reward.reference)):
            logits = model(torch.tensor([[*start, *answer]])).logits[0].detach().float()
            logprobs = logits.log_softmax(-1)
            total += sign * sum(
                float(logprobs[len(start) + i - 1, token]) for i, token in enumerate(answer)
            )
        expected.append(0.3 * total)
    assert score(reward) == pytest.approx(expected, abs=1e-4)
    assert min(map(abs, expected)) > 1e-2


def test_batches_and_cuts(tiny_model_dir: Path) -> None:
    whole, one_by_one = implied(tiny_model_dir), implied(tiny_model_dir, tokens_per_batch=1)
    assert score(whole) == pytest.approx(score(one_by_one), abs=1e-4)
    assert whole.cut_rows == 0
    short = implied(tiny_model_dir, max_length=24)
    long_prompt: list[Message] = [{"role": "user", "content": "again and " * 20}]
    score(short, [long_prompt], ["yes"])
    assert short.cut_rows == 1
    with pytest.raises(DataError, match="does not fit"):
        score(short, PROMPTS[:1], ["x" * 60])


def test_a_policy_that_learnt_nothing_implies_nothing(tiny_model_dir: Path) -> None:
    reward = implied(tiny_model_dir)
    reward.policy = reward.reference
    assert score(reward) == [0, 0, 0]
    with pytest.raises(ValueError, match="beta must be positive"):
        implied(tiny_model_dir, beta=0.0)
