"""Packed rows, with and without shared starts, are the padded rows: values and gradients."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, Qwen2Config

from accord.models import packed_attention, packing
from accord.models.heads import init_reward_model, response_scores
from accord.models.loading import load_policy
from accord.models.logprobs import hidden_states, token_logprobs
from accord.models.lora import add_lora
from accord.models.packing import Start, filled, pack, packed_states, packs_rows, use_packing
from accord.models.values import ValueModel

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU)


def grid(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Right-padded with an id that is also a real token, and the mask."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), 2)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for r, row in enumerate(rows):
        ids[r, : len(row)] = torch.tensor(row)
        mask[r, : len(row)] = 1
    return ids, mask


def draw(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, 300, (length,), generator=generator).tolist()


PROMPT, OTHER = draw(20, 1), draw(17, 2)
BATCHES = {
    "unlike": [draw(9, 3), draw(30, 4), draw(1, 5)],
    "pairs": [PROMPT + draw(5, 6), OTHER + draw(3, 7), PROMPT + draw(9, 8), OTHER + draw(8, 9)],
    "group": [PROMPT + draw(n, n) for n in (4, 1, 7, 4)],
    "identical": [PROMPT, PROMPT, draw(6, 10)],
    "nested": [PROMPT + OTHER + draw(2, 11), PROMPT + OTHER + draw(4, 12), PROMPT + draw(30, 13)],
    "one inside another": [PROMPT, PROMPT + draw(4, 14)],
}


@pytest.mark.parametrize("name", BATCHES)
def test_log_probs_and_gradients(model: Any, name: str) -> None:
    ids, mask = grid(BATCHES[name])
    targets = mask.bool()
    targets[:, 0] = False
    weights = torch.randn(ids.shape, generator=torch.Generator().manual_seed(0))
    results = []
    for packs in (False, True):
        model.packs_rows = packs
        logprobs = token_logprobs(model, ids, mask, targets).logprobs
        (weights * logprobs).sum().backward()
        results.append((logprobs, {n: p.grad.clone() for n, p in model.named_parameters()}))
        model.zero_grad()
    (padded, expected), (packed, found) = results
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    for parameter in expected:
        torch.testing.assert_close(found[parameter], expected[parameter], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", BATCHES)
def test_filler_changes_nothing(model: Any, name: str) -> None:
    packed = pack(*grid(BATCHES[name]))
    count = packed.input_ids.shape[1]
    read = torch.arange(0, count, 3)
    round_read = torch.cat([read, read[-1:].expand(5)])
    results = []
    for row, places in ((packed, read), (filled(packed), round_read)):
        states = packed_states(model, row, read=places)[: len(read)]
        states.square().sum().backward()
        results.append((states, {n: p.grad.clone() for n, p in model.named_parameters()
                                 if p.grad is not None}))  # fmt: skip
        model.zero_grad()
    (alone, expected), (found, gradients) = results
    assert filled(packed).input_ids.shape[1] == -(-count // 64) * 64
    torch.testing.assert_close(found, alone, atol=1e-6, rtol=1e-6)
    for parameter in expected:
        torch.testing.assert_close(gradients[parameter], expected[parameter], atol=1e-5, rtol=1e-5)


def test_sizes_in_bfloat16_are_round(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = grid(BATCHES["pairs"])
    read = mask.bool() & ~mask.bool().roll(-1, 1)
    seen = []

    def noted(model: Any, packed: Any, *, read: Tensor) -> Tensor:
        seen.append((packed.input_ids.shape[1], len(read)))
        return packed_states(model, packed, read=read)

    monkeypatch.setattr(packing, "packed_states", noted)
    exact = hidden_states(model, ids, mask, read=read)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hidden_states(model, ids, mask, read=read)
    assert seen == [(62, 3), (64, 64)]
    assert found.shape == exact.shape
    torch.testing.assert_close(found.float(), exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("unlike", 9 + 30 + 1),
        ("pairs", 20 + 5 + 9 + 17 + 3 + 8),
        ("group", 20 + 4 + 1 + 7 + 4),
        ("identical", 19 + 1 + 1 + 6),
        ("one inside another", 19 + 1 + 5),
    ],
)
def test_nothing_is_computed_twice(name: str, tokens: int) -> None:
    packed = pack(*grid(BATCHES[name]))
    assert packed.input_ids.shape == (1, tokens)
    assert sum(piece.length for piece in packed.pieces) == tokens


def test_every_cell_finds_its_own_token() -> None:
    for rows in BATCHES.values():
        ids, mask = grid(rows)
        packed = pack(ids, mask)
        real = mask.bool()
        assert torch.equal(packed.input_ids[0][packed.place][real], ids[real])
        columns = torch.arange(ids.shape[1]).expand(ids.shape)
        assert torch.equal(packed.position_ids[0][packed.place][real], columns[real])


def test_what_a_cache_knows_is_not_run_and_other_starts_share_nothing() -> None:
    """Two rows of which 18 tokens are known, one of which 6 are, and two of which none are."""
    rows = [PROMPT + draw(n, n) for n in (4, 7, 5, 6, 8)]
    ids, mask = grid(rows)
    starts = [Start([0, 3], 18), Start([4], 6), Start([1, 2])]
    packed = pack(ids, mask, starts=starts)
    assert packed.known == 18 + 6
    assert packed.input_ids.shape == (1, 4 + 6 + 2 * 2 + 28 - 6 + 20 + 7 + 5)
    assert list(packed.run) == list(range(2, len(packed.pieces)))
    for row, known in enumerate((18, 0, 0, 18, 6)):
        place = packed.place[row, known : len(rows[row])] - packed.known
        assert packed.input_ids[0][place].tolist() == rows[row][known:]
        assert packed.position_ids[0][place].tolist() == list(range(known, len(rows[row])))
    assert torch.equal(packed.place[0, :18], torch.arange(18))
    assert torch.equal(packed.place[4, :6], torch.arange(18, 24))
    assert torch.equal(packed.place[1, :20], packed.place[2, :20])
    assert not set(packed.place[1].tolist()) & set(packed.place[4].tolist())


def test_rewards_and_values(tiny_model_dir: Path) -> None:
    ids, mask = grid(BATCHES["pairs"])
    reward = init_reward_model(str(tiny_model_dir), device=CPU, seed=0)
    value = ValueModel(str(tiny_model_dir), device=CPU)
    targets = mask.bool()
    targets[:, :5] = False
    assert packs_rows(reward) and packs_rows(value.model)
    with torch.no_grad():
        value.model.score.weight.normal_()
        packed = response_scores(reward, ids, mask), value.values(ids, mask, targets)
        reward.packs_rows = value.model.packs_rows = False
        padded = response_scores(reward, ids, mask), value.values(ids, mask, targets)
    for ours, plain in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)


def test_adapters_see_packed_rows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    adapted: Any = add_lora(model, r=2, alpha=4, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    ids, mask = grid(BATCHES["pairs"])
    calls: list[int] = []
    original = packing.packed_hidden_states
    monkeypatch.setattr(
        "accord.models.logprobs.packed_hidden_states",
        lambda *arguments: calls.append(1) or original(*arguments),
    )
    packed = hidden_states(adapted, ids, mask)[mask.bool()]
    assert calls
    model.packs_rows = False
    padded = hidden_states(adapted, ids, mask)[mask.bool()]
    torch.testing.assert_close(packed, padded, atol=1e-4, rtol=1e-4)


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 300}


@pytest.mark.parametrize(
    ("config", "packs"),
    [
        (LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **SMALL), True),
        (Qwen2Config(num_attention_heads=4, num_key_value_heads=2, **SMALL), True),
        (GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=300), True),
        (Gemma2Config(num_attention_heads=2, num_key_value_heads=1, head_dim=16, **SMALL), False),
    ],
)
def test_families_with_plain_attention_pack_and_others_do_not(config: Any, packs: bool) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    use_packing(model)
    assert packs_rows(model) is packs
    implementation = model.config._attn_implementation
    ids, mask = grid(BATCHES["group"])
    with torch.no_grad():
        found = hidden_states(model, ids, mask)[mask.bool()]
        model.packs_rows = False
        expected = hidden_states(model, ids, mask)[mask.bool()]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert model.config._attn_implementation == implementation


@pytest.mark.parametrize("is_continued", [False, True])
def test_attention_by_plain_products_is_the_fused_one(is_continued: bool) -> None:
    """In double precision, with its gradients; a continued piece attends to what it continues."""
    generator = torch.Generator().manual_seed(0)
    before, length = (4, 5) if is_continued else (0, 5)
    shapes = [(1, 2, n, 8) for n in (length, before + length, before + length)]
    q, k, v = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in shapes
    )
    mask = torch.ones(length, before + length).tril(before).bool() if is_continued else None

    def own(*inputs: Any) -> Any:
        return packed_attention._HalfAttention.apply(*inputs, mask, 0.3)  # type: ignore[no-untyped-call]

    expected = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=0.3
    )
    torch.testing.assert_close(own(q, k, v), expected)
    assert torch.autograd.gradcheck(own, (q, k, v))


def test_bfloat16_rows_are_those_that_are_padded(tiny_model_dir: Path) -> None:
    """Under autocast, up to its rounding."""
    policy = load_policy(str(tiny_model_dir), device=CPU)
    ids = torch.randint(4, 300, (3, 40), generator=torch.Generator().manual_seed(2))
    mask = torch.ones_like(ids)
    mask[1, 25:], mask[2, 7:] = 0, 0
    found = []
    for packs in (True, False):
        policy.packs_rows = packs  # type: ignore[assignment]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = hidden_states(policy, ids, mask)[mask.bool()].float()
        policy.zero_grad()
        states.square().mean().backward()
        gradient = policy.base_model.layers[0].self_attn.k_proj.weight.grad
        found.append((states.detach(), gradient.clone()))
    (states, gradient), (expected, wanted) = found
    assert float((states - expected).abs().max()) < 0.05 * float(expected.abs().max())
    assert float((gradient - wanted).norm()) < 0.05 * float(wanted.norm())


def test_starts_within_starts(model: Any) -> None:
    """Four rows of one instruction and two prompts: each is computed once, and all is as padded."""
    tails = [draw(n, 20 + n) for n in (3, 8, 1, 5, 6)]
    start, other = PROMPT + OTHER, PROMPT + draw(18, 15)
    ids, mask = grid([head + tail for head, tail in zip([start, other] * 2, tails, strict=False)])
    packed = pack(ids, mask, levels=2)
    assert packed.input_ids.shape[1] == 20 + 17 + 18 + 3 + 8 + 1 + 5
    assert [piece.after for piece in packed.pieces].count(None) == 1
    states = packed_states(model, packed)[packed.place.flatten()].view(*ids.shape, -1)
    expected = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    cells = mask.bool()
    torch.testing.assert_close(states[cells], expected[cells], atol=1e-5, rtol=1e-5)
    assert pack(ids, mask).input_ids.shape[1] > packed.input_ids.shape[1]
