"""Scores do not depend on company, order or padding, and over-long rows are cut and counted."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.errors import ConfigError, DataError, ModelError
from accord.corpora.encoding import ChatEncoder
from accord.models.heads import init_reward_model, response_features, response_scores
from accord.models.loading import load_tokenizer, save_model
from accord.rewards.learned import LearnedReward

CPU = torch.device("cpu")
WORDS = ["yes", "I don't know, but I can help you find the answer.", "12 and 7 are 19. " * 5, ""]
PROMPTS = [[{"role": "user", "content": f"What is the capital? {'please ' * n}"}] for n in range(4)]


@pytest.fixture(scope="module")
def reward_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reward") / "model"
    model = init_reward_model(str(tiny_model_dir), device=CPU, seed=1)
    save_model(model, load_tokenizer(str(tiny_model_dir)), path)
    return path


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


def reward_of(path: Any, **arguments: Any) -> LearnedReward:
    return LearnedReward(path, **{"device": CPU, "max_length": 256} | arguments)


def score(reward: LearnedReward, order: list[int], ids: Any = None) -> list[float]:
    ids = ids or [((), ())] * len(WORDS)
    scores = reward.score(
        [PROMPTS[i] for i in order],
        [WORDS[i] for i in order],
        prompt_ids=[ids[i][0] for i in order],
        response_ids=[ids[i][1] for i in order],
        columns=[{} for _ in order],
    )
    return list(scores.values)


def test_equal_to_scoring_each_row_by_hand(reward_dir: Path, encoder: ChatEncoder) -> None:
    reward = reward_of(reward_dir)
    expected = []
    for prompt, words in zip(PROMPTS, WORDS, strict=True):
        ids = torch.tensor([encoder.encode_prompt(prompt) + encoder.encode_response(words)])
        expected.append(response_scores(reward.model, ids, torch.ones_like(ids)).item())
    assert score(reward, [0, 1, 2, 3]) == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 4) for value in expected}) == 4
    assert reward.cut_rows == 0


@pytest.mark.parametrize("tokens_per_batch", [1, 150, 8192])
def test_order_and_batching_do_not_matter(reward_dir: Path, tokens_per_batch: int) -> None:
    expected = score(reward_of(reward_dir), [0, 1, 2, 3])
    got = score(reward_of(reward_dir, tokens_per_batch=tokens_per_batch), [3, 1, 0, 2])
    assert got == pytest.approx([expected[i] for i in (3, 1, 0, 2)], abs=1e-5)


def test_micro_batches_keep_the_bound(reward_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from accord.rewards import learned

    shapes = []

    def recorded(model: Any, input_ids: Any, attention_mask: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        assert not torch.is_grad_enabled()
        return response_features(model, input_ids, attention_mask)

    monkeypatch.setattr(learned, "response_features", recorded)
    score(reward_of(reward_dir, tokens_per_batch=300), [0, 1, 2, 3, 0, 1, 2, 3])
    assert sum(rows for rows, _ in shapes) == 8
    assert 1 < len(shapes) < 8 and all(rows * length <= 300 for rows, length in shapes)
    assert [length for _, length in shapes] == sorted(length for _, length in shapes)


def test_no_responses(reward_dir: Path) -> None:
    assert score(reward_of(reward_dir), []) == []


def test_the_policys_ids_are_scored_where_they_mean_the_same(
    reward_dir: Path, encoder: ChatEncoder
) -> None:
    sampled = [(encoder.encode_prompt(p), (9, 8, 7, 6, 2)) for p in PROMPTS]  # no such text
    as_text = score(reward_of(reward_dir), [0, 1, 2, 3], sampled)
    shared = reward_of(reward_dir, policy_encoder=encoder)
    as_ids = score(shared, [0, 1, 2, 3], sampled)
    ids = torch.tensor([[*sampled[0][0], 9, 8, 7, 6, 2]])
    by_hand = response_scores(shared.model, ids, torch.ones_like(ids)).item()
    assert as_ids[0] == pytest.approx(by_hand, abs=1e-5)
    assert as_text == score(reward_of(reward_dir), [0, 1, 2, 3])
    assert score(shared, [0, 1, 2, 3]) == as_text  # text alone, without ids

    other = ChatEncoder(load_tokenizer(str(reward_dir)))
    other.tokenizer.chat_template += "\n"
    assert not reward_of(reward_dir, policy_encoder=other).shares_ids


def test_overlong_rows_lose_the_prompts_start(reward_dir: Path, encoder: ChatEncoder) -> None:
    prompt, answer = encoder.encode_prompt(PROMPTS[3]), encoder.encode_response(WORDS[1])
    reward = reward_of(reward_dir, max_length=len(answer) + 4)
    kept = torch.tensor([prompt[-4:] + answer])
    by_hand = response_scores(reward.model, kept, torch.ones_like(kept)).item()
    for count in (1, 2):
        got = reward.score(
            [PROMPTS[3]], [WORDS[1]], prompt_ids=[()], response_ids=[()], columns=[{}]
        ).values
        assert list(got) == pytest.approx([by_hand], abs=1e-5)
        assert reward.cut_rows == count


def test_a_response_that_leaves_no_room(reward_dir: Path) -> None:
    with pytest.raises(DataError, match=r"response 2 has .* max_length 32"):
        score(reward_of(reward_dir, max_length=32), [0, 3, 2])


def test_shift_and_scale(reward_dir: Path) -> None:
    raw = score(reward_of(reward_dir), [0, 1, 2, 3])
    normal = score(reward_of(reward_dir, shift=0.5, scale=2.0), [0, 1, 2, 3])
    assert normal == pytest.approx([(value - 0.5) / 2 for value in raw], abs=1e-6)


def test_a_model_in_training_is_scored_without_dropout_and_left_training(
    reward_dir: Path, encoder: ChatEncoder
) -> None:
    loaded = reward_of(reward_dir)
    expected = score(loaded, [0])
    for layer in loaded.model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    loaded.model.train()
    again = reward_of((loaded.model, encoder))
    assert score(again, [0]) == expected
    assert again.model.training


def test_bad_arguments(reward_dir: Path, tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scale must be positive"):
        reward_of(reward_dir, scale=0.0)
    with pytest.raises(ConfigError, match="context has 512"):
        reward_of(reward_dir, max_length=513)
    with pytest.raises(ModelError, match="no score head"):
        reward_of(tiny_model_dir)
    cut = Path(shutil.copytree(reward_dir, tmp_path / "cut"))
    (cut / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="cannot be loaded"):
        reward_of(cut)
