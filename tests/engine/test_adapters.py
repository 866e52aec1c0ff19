"""A batch mixes adapters on one policy, and each row is as from its own merged weights."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

from accord.core.errors import DataError, ModelError
from accord.core.types import GenerationRequest, SamplingParams
from accord.engine import decoder as decoder_module
from accord.engine.decoder import Decoder
from accord.engine.kernels import NativeKernels
from accord.engine.local import LocalEngine
from accord.models.adapters import AdaptedLinear, add_adapters, parts_of, reading
from accord.models.linear import use_fast_linear
from accord.models.loading import load_tokenizer
from accord.models.packing import use_packing

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "vocab_size": 300,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
PROMPTS = [tuple(range(10, 50)), (5, 6, 7), (*range(10, 50), 9), (8,), (*range(10, 46), 3)]


def build(config: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    use_fast_linear(model)
    use_packing(model)
    return model


def save(config: Any, path: Path, **options: Any) -> str:
    """Strong adapters; layers, ranks and scales differ between them, and within one."""
    wrapped = get_peft_model(build(config), LoraConfig(init_lora_weights=False, **options))
    wrapped.save_pretrained(str(path), save_embedding_layers=False)
    return str(path)


@pytest.fixture
def adapters(tmp_path: Path) -> dict[str, str]:
    torch.manual_seed(3)
    config = Qwen2Config(**SMALL)  # its queries, keys and values have biases
    return {
        "a": save(config, tmp_path / "a", r=3, lora_alpha=6, target_modules="all-linear",
                  rank_pattern={"v_proj": 5}, alpha_pattern={"down_proj": 2}),
        "b": save(config, tmp_path / "b", r=2, lora_alpha=5, use_rslora=True,
                  target_modules=["q_proj", "gate_proj", "o_proj"], layers_to_transform=[1]),
    }  # fmt: skip


def merged(directory: str | None) -> Any:
    from peft import PeftModel

    model = build(Qwen2Config(**SMALL))
    if directory is not None:
        model = PeftModel.from_pretrained(model, directory).merge_and_unload()
        use_packing(model)
    return model


def sample(
    policy: nn.Module, tokenizer: Any, asked: list[tuple[tuple[int, ...], str | None]]
) -> list[list[tuple[int, float]]]:
    engine = LocalEngine(policy, tokenizer, max_batch_size=8)
    params = SamplingParams(10, 0.0)
    found = engine.submit([GenerationRequest(p, params, 0, adapter=name) for p, name in asked])
    for generation in found:
        generation.result()
    return [[(t.token_id, t.logprob) for t in generation.tokens] for generation in found]


@pytest.mark.parametrize("way", ["native", "operators", "own forward", "padded"])
def test_rows_are_as_from_their_merged_weights(
    way: str, adapters: dict[str, str], tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "operators":
        monkeypatch.setattr(NativeKernels, "of", lambda _: None)
    elif way == "own forward":
        monkeypatch.setattr(decoder_module, "_LONG", 0)
    elif way == "padded":
        monkeypatch.setattr(Decoder, "of", lambda _: None)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    policy = build(Qwen2Config(**SMALL))
    add_adapters(policy, adapters)
    if way == "padded":
        policy.packs_rows = False
    # A decoder whose probe failed would leave the model's own forward, which is right, too.
    assert (Decoder.of(policy) is None) is (way == "padded")
    names = [None, *adapters]
    asked = [(prompt, name) for prompt in PROMPTS for name in names]
    together = sample(policy, tokenizer, asked)
    assert len({tuple(i for i, _ in row) for row in together[:3]}) == 3
    for place, name in enumerate(names):
        alone = sample(merged(adapters.get(name or "")), tokenizer, [(p, None) for p in PROMPTS])
        for row, expected in zip(together[place::3], alone, strict=True):
            assert [i for i, _ in row] == [i for i, _ in expected]
            assert [v for _, v in row] == pytest.approx([v for _, v in expected], abs=1e-4)


def test_until_it_is_asked_the_policy_is_the_base(adapters: dict[str, str]) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    policy, plain = build(Qwen2Config(**SMALL)), build(Qwen2Config(**SMALL))
    names = set(plain.state_dict())
    add_adapters(policy, adapters)
    assert {n for n in policy.state_dict() if not n.endswith((".down", ".up"))} == names
    with torch.no_grad():
        assert torch.equal(policy(ids).logits, plain(ids).logits)
        with reading(parts_of(policy, ["a"])):
            found = policy(ids).logits
        torch.testing.assert_close(found, merged(adapters["a"])(ids).logits, atol=1e-5, rtol=1e-5)
        assert torch.equal(policy(ids).logits, plain(ids).logits)
    # b stands on the second layer alone, and on three of its products.
    assert isinstance(policy.model.layers[0].self_attn.k_proj, AdaptedLinear)
    assert not policy.model.layers[0].self_attn.q_proj.up[:, 5:].any()
    assert policy.model.layers[1].self_attn.q_proj.up[:, 5:].any()


def test_half_precision_differs_by_its_rounding_only(
    adapters: dict[str, str], tiny_model_dir: Path
) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    policy, plain = build(Qwen2Config(**SMALL)), merged(adapters["a"])
    policy.bfloat16()
    use_packing(policy)
    add_adapters(policy, adapters)
    assert {p.dtype for p in policy.parameters()} == {torch.bfloat16}
    assert Decoder.of(policy) is not None
    found, expected = (
        sample(model, tokenizer, [((5, 6, 7), name)])[0][0][1]
        for model, name in ((policy, "a"), (plain, None))
    )
    assert found == pytest.approx(expected, abs=0.1)


def test_an_unknown_adapter_is_refused(adapters: dict[str, str], tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_model_dir))
    policy = build(Qwen2Config(**SMALL))
    with pytest.raises(DataError, match="request 0: no adapter 'a'"):
        sample(policy, tokenizer, [((5,), "a")])
    add_adapters(policy, adapters)
    with pytest.raises(DataError, match="no adapter 'aa'; did you mean 'a'"):
        sample(policy, tokenizer, [((5,), "aa")])


@pytest.mark.parametrize("kind", ["head", "another kind of layer"])
def test_more_than_linear_layers_of_the_trunk_is_refused(kind: str, tmp_path: Path) -> None:
    if kind == "head":
        config: Any = LlamaConfig(**SMALL)
        options: dict[str, Any] = {"target_modules": ["q_proj", "lm_head"]}
    else:
        config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=300)
        options = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    directory = save(config, tmp_path / "adapter", r=2, **options)
    policy = build(config)
    before = set(policy.state_dict())
    with pytest.raises(ModelError, match="more than linear layers"):
        add_adapters(policy, {"a": directory})
    assert set(policy.state_dict()) == before
