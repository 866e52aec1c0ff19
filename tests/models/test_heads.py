"""Scores at the last real token, values one column right, and saving that checks itself."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from accord.core.errors import ModelError
from accord.models import heads
from accord.models.heads import (
    init_reward_model,
    load_reward_model,
    response_scores,
    save_scored_model,
    score_head,
    token_scores,
)
from accord.models.loading import load_policy, load_tokenizer
from accord.models.logprobs import before, hidden_states
from accord.models.lora import add_lora
from accord.models.values import ValueHead, ValueModel

CPU = torch.device("cpu")
END_OF_TURN = 2
LENGTHS = [9, 6, 12]


class Sample(NamedTuple):
    input_ids: Tensor
    attention_mask: Tensor


@pytest.fixture
def sample() -> Sample:
    """Rows that end with the end of turn, padded with the end of turn too."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(4, 300, (3, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor(LENGTHS)[:, None]).long()
    for row, n in enumerate(LENGTHS):
        ids[row, n - 1 :] = END_OF_TURN
    return Sample(ids, mask)


@pytest.fixture
def model(tiny_model_dir: Path) -> Any:
    return init_reward_model(str(tiny_model_dir), device=CPU, seed=3)


def test_a_fresh_head_depends_on_its_seed_alone(
    tiny_model_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = init_reward_model(str(tiny_model_dir), device=CPU, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    same = init_reward_model(str(tiny_model_dir), device=CPU, seed=3)
    other = init_reward_model(str(tiny_model_dir), device=CPU, seed=4)
    assert torch.equal(one.score.weight, same.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    assert one.score.weight.shape == (1, 32)
    assert one.score.weight.std().item() == pytest.approx(33**-0.5, rel=0.4)
    assert one.config.pad_token_id == 3 and one.config.num_labels == 1
    assert "MISSING" not in capfd.readouterr().err
    trunk = load_policy(str(tiny_model_dir), device=CPU).model.state_dict()
    assert all(torch.equal(tensor, trunk[name]) for name, tensor in one.model.state_dict().items())


def test_padding_that_would_hide_the_end_of_turn_is_replaced(
    tiny_model_dir: Path, tmp_path: Path, sample: Sample
) -> None:
    """Many base models pad with their end of turn; plain `transformers` must score alike."""
    source = tmp_path / "policy"
    shutil.copytree(tiny_model_dir, source)
    tokenizer = load_tokenizer(str(source))
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(source)
    model = init_reward_model(str(source), device=CPU, seed=0)
    assert model.config.pad_token_id != END_OF_TURN
    save_scored_model(model, tokenizer, tmp_path / "reward", sample=sample)
    assert tokenizer.pad_token_id == END_OF_TURN  # the caller's own is left alone
    saved = load_tokenizer(str(tmp_path / "reward"))
    assert saved.pad_token_id == model.config.pad_token_id

    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    rows = [sample.input_ids[r, :n].tolist() for r, n in enumerate(LENGTHS)]
    with torch.no_grad():
        padded = plain(**saved.pad({"input_ids": rows}, return_tensors="pt")).logits.squeeze(-1)
        torch.testing.assert_close(padded, response_scores(model, *sample), atol=1e-5, rtol=0)


def test_scores_at_the_last_token_whatever_pads(model: Any, sample: Sample) -> None:
    scores = response_scores(model, *sample)
    assert scores.shape == (3,) and scores.dtype == torch.float32
    hidden = hidden_states(model, *sample)
    for row, n in enumerate(LENGTHS):
        by_hand = hidden[row, n - 1] @ model.score.weight[0]
        assert scores[row].item() == pytest.approx(by_hand.item(), abs=1e-5)
    noise = torch.where(sample.attention_mask == 1, sample.input_ids, 77)
    torch.testing.assert_close(
        response_scores(model, noise, sample.attention_mask), scores, atol=1e-6, rtol=0
    )


def test_agrees_with_plain_transformers_on_one_row(model: Any, sample: Sample) -> None:
    scores = response_scores(model, *sample)
    for row, n in enumerate(LENGTHS):
        logits = model(input_ids=sample.input_ids[row : row + 1, :n]).logits
        assert logits.item() == pytest.approx(scores[row].item(), abs=1e-5)


def test_padded_alone_and_packed_agree_with_gradients(model: Any, sample: Sample) -> None:
    def gradients(scores: Tensor) -> dict[str, Tensor]:
        model.zero_grad()
        (scores * torch.tensor([1.0, -2.0, 0.5])).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    rows = [sample.input_ids[r : r + 1, :n] for r, n in enumerate(LENGTHS)]
    padded = response_scores(model, *sample)
    alone = torch.cat([response_scores(model, row, torch.ones_like(row)) for row in rows])
    positions = torch.cat([torch.arange(n) for n in LENGTHS])[None]
    packed = token_scores(model, torch.cat(rows, dim=1), None, positions)
    packed = packed[0, torch.tensor(LENGTHS).cumsum(0) - 1]
    expected = gradients(padded)
    for scores in (alone, packed):
        torch.testing.assert_close(scores, padded, atol=1e-5, rtol=0)
        for name, gradient in gradients(scores).items():
            torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)


def test_scores_stay_float32_under_autocast(model: Any, sample: Sample) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = response_scores(model, *sample)
    assert scores.dtype == torch.float32


def test_a_row_without_tokens(model: Any) -> None:
    with pytest.raises(ValueError, match="without a token"):
        response_scores(model, torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 3))


def test_a_policy_is_no_reward_model(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match="no score head"):
        load_reward_model(str(tiny_model_dir), device=CPU)


def test_a_classifier_of_two_labels(tmp_path: Path) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    config = LlamaConfig(**sizes, num_attention_heads=1, num_labels=2, pad_token_id=0)
    LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="2 labels"):
        load_reward_model(str(tmp_path), device=CPU)


def test_a_model_without_a_linear_head(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match="LlamaForCausalLM has no linear head"):
        score_head(load_policy(str(tiny_model_dir), device=CPU))


def test_another_family(tiny_model_dir: Path, tmp_path: Path, sample: Sample) -> None:
    GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    ).save_pretrained(tmp_path / "gpt2")
    load_tokenizer(str(tiny_model_dir)).save_pretrained(tmp_path / "gpt2")
    model = init_reward_model(str(tmp_path / "gpt2"), device=CPU, seed=0)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    save_scored_model(model, tokenizer, tmp_path / "reward", sample=sample)
    assert model(input_ids=sample.input_ids[:1, :9]).logits.item() == pytest.approx(
        response_scores(model, *sample)[0].item(), abs=1e-5
    )


@pytest.mark.parametrize("has_head", [True, False])
def test_an_encoder_is_refused(tiny_model_dir: Path, tmp_path: Path, has_head: bool) -> None:
    """Its head reads a pooled first token, so that its scores at the last would be noise."""
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, num_labels=1, pad_token_id=3,
    )  # fmt: skip
    family = BertForSequenceClassification if has_head else BertModel
    family(config).save_pretrained(tmp_path)
    load_tokenizer(str(tiny_model_dir)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="a BertForSequenceClassification does not score"):
        init_reward_model(str(tmp_path), device=CPU, seed=0)
    if has_head:
        with pytest.raises(ModelError, match="trunk of a causal"):
            load_reward_model(str(tmp_path), device=CPU)


@pytest.mark.parametrize("use_peft", [False, True])
def test_saved_scores_are_the_trained_ones(
    tiny_model_dir: Path, tmp_path: Path, sample: Sample, use_peft: bool
) -> None:
    model: Any = init_reward_model(str(tiny_model_dir), device=CPU, seed=3)
    if use_peft:
        model = add_lora(model, r=4, alpha=8, seed=0)
    before = response_scores(model, *sample).detach()
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        response_scores(model, *sample).sum().backward()
        optimizer.step()
    trained = response_scores(model, *sample).detach()
    assert (trained - before).abs().min() > 1e-2

    save_scored_model(model, load_tokenizer(str(tiny_model_dir)), tmp_path / "m", sample=sample)
    assert model.training
    torch.testing.assert_close(response_scores(model, *sample).detach(), trained)
    reloaded = load_reward_model(str(tmp_path / "m"), device=CPU)
    torch.testing.assert_close(response_scores(reloaded, *sample), trained, atol=1e-5, rtol=1e-5)
    assert not any("lora" in name or "modules_to_save" in name for name in reloaded.state_dict())


@pytest.mark.parametrize("sabotage", ["drop", "scramble"])
def test_a_head_that_was_not_saved(
    model: Any,
    tiny_model_dir: Path,
    tmp_path: Path,
    sample: Sample,
    sabotage: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    path = tmp_path / "reward"
    save_scored_model(model, tokenizer, path, sample=sample)
    before = (path / "model.safetensors").read_bytes()
    original = heads.write_model

    def sabotaged(plain: Any, tokenizer: Any, directory: Path) -> None:
        if sabotage == "drop":
            shutil.copytree(tiny_model_dir, directory, dirs_exist_ok=True)
            return
        kept = plain.score.weight.detach().clone()
        with torch.no_grad():
            plain.score.weight.normal_()
            original(plain, tokenizer, directory)
            plain.score.weight.copy_(kept)

    monkeypatch.setattr(heads, "write_model", sabotaged)
    with pytest.raises(ModelError, match=r"no score head|head was not saved"):
        save_scored_model(model, tokenizer, path, sample=sample)
    assert (path / "model.safetensors").read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def targets_of(sample: Sample) -> Tensor:
    """All tokens but the first of each row."""
    targets = sample.attention_mask.bool()
    targets[:, 0] = False
    return targets


def test_values_read_the_state_before_each_token(
    model: Any, tiny_model_dir: Path, tmp_path: Path, sample: Sample
) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    save_scored_model(model, tokenizer, tmp_path / "reward", sample=sample)
    value = ValueModel(str(tmp_path / "reward"), device=CPU)
    targets = targets_of(sample)
    values = value.values(*sample, targets)
    assert values.shape == (3, 12) and (values[~targets] == 0).all()
    assert torch.equal(value(*sample, targets), values)
    for column in range(1, 9):
        # The score of the row as it stood before token `column` was chosen.
        prefix = sample.input_ids[:1, :column]
        score = response_scores(model, prefix, torch.ones_like(prefix))
        assert values[0, column].item() == pytest.approx(score.item(), abs=1e-5)

    with torch.no_grad():
        value.model.score.weight += 1.0
    save_scored_model(value.model, tokenizer, tmp_path / "value", sample=sample)
    again = ValueModel.load(str(tmp_path / "value"), device=CPU)
    torch.testing.assert_close(again.values(*sample, targets), value.values(*sample, targets))


def test_a_value_from_a_policy_starts_at_zero(tiny_model_dir: Path, sample: Sample) -> None:
    value = ValueModel(str(tiny_model_dir), device=CPU)
    targets = targets_of(sample)
    assert (value.values(*sample, targets) == 0).all()
    (value.values(*sample, targets) - 1).square().sum().backward()
    assert value.model.score.weight.grad.abs().max() > 0


def test_a_value_head_shares_the_trunk(tiny_model_dir: Path, sample: Sample) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    head = ValueHead(32)
    targets = targets_of(sample)
    states = hidden_states(policy, *sample, read=before(targets))
    assert (head.values(states, targets) == 0).all()
    torch.nn.init.constant_(head.linear.weight, 0.5)
    torch.nn.init.constant_(head.linear.bias, 0.25)
    values = head(states, targets)
    assert (values[~targets] == 0).all()
    torch.testing.assert_close(values[targets], 0.5 * states.sum(-1) + 0.25, atol=1e-5, rtol=1e-5)
    values.sum().backward()
    assert policy.model.layers[0].mlp.up_proj.weight.grad.abs().max() > 0
