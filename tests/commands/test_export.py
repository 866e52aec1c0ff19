"""Exports are read back by other code than wrote them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from accord.cli import main
from accord.core.assets import resolve_asset
from accord.core.errors import ModelError
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.engine.local import LocalEngine
from accord.engine.local_chat import LocalChat
from accord.models.loading import load_policy, load_tokenizer
from accord.publishing.gguf import _interleaved, _split_name

PROMPTS = ("Hello!", "How do I thank Ana for the lamp?", "Where is the old key?")
TOKENS = 24


def test_a_hf_export_is_the_same_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["export", str(tiny_model_dir), "--out", str(out)]) == 0
    cpu = torch.device("cpu")
    a, b = (load_policy(str(path), device=cpu).state_dict() for path in (tiny_model_dir, out))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert (
        load_tokenizer(str(out)).chat_template == load_tokenizer(str(tiny_model_dir)).chat_template
    )


def test_what_is_there_is_not_overwritten(tiny_model_dir: Path, tmp_path: Path) -> None:
    assert main(["export", str(tiny_model_dir), "--out", str(tmp_path)]) == 2
    keep = ["export", str(tiny_model_dir), "--keep_adapter", "--out", str(tmp_path / "x")]
    assert main(keep) == 2
    assert list(tmp_path.iterdir()) == []


def test_rows_of_a_head_are_interleaved() -> None:
    weight = torch.arange(8.0)[:, None]  # two heads of four rows: halves 0 1 | 2 3
    assert _interleaved(weight, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(tiny_model_dir: Path) -> None:
    from tokenizers import pre_tokenizers

    tokenizer = load_tokenizer(str(tiny_model_dir))
    assert _split_name(tokenizer) == "gpt-2"
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with pytest.raises(ModelError, match="no name"):
        _split_name(tokenizer)


def test_a_gguf_file_holds_the_weights_and_the_template(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    gguf: Any = pytest.importorskip("gguf")
    out = tmp_path / "out"
    assert main(["export", str(tiny_model_dir), "--to", "ollama", "--out", str(out)]) == 0
    reader = gguf.GGUFReader(out / "model.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    tokenizer = load_tokenizer(str(tiny_model_dir))
    assert fields["tokenizer.chat_template"] == tokenizer.chat_template
    assert fields["tokenizer.ggml.eos_token_id"] == ChatEncoder(tokenizer).end_of_turn_id
    assert fields["llama.block_count"] == 2
    assert len(fields["tokenizer.ggml.tokens"]) == 300
    weights = load_policy(str(tiny_model_dir), device=torch.device("cpu")).state_dict()
    tensors = {t.name: torch.from_numpy(t.data.copy()) for t in reader.tensors}
    assert torch.equal(
        tensors["blk.1.ffn_down.weight"], weights["model.layers.1.mlp.down_proj.weight"]
    )
    assert "output.weight" not in tensors  # tied
    assert 'PARAMETER stop "<|im_end|>"' in (out / "Modelfile").read_text()


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Ours, greedy."""
    client = LocalChat(resolve_asset("accord:base"), LocalEngine)
    conversations: list[list[Message]] = [[{"role": "user", "content": p}] for p in PROMPTS]
    replies: list[Any] = client.complete(conversations, temperature=0.0, max_tokens=TOKENS)
    return [reply.text for reply in replies]


def test_transformers_answer_from_the_directory_as_we_do(tmp_path: Path, said: list[str]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "hf"
    assert main(["export", "accord:base", "--out", str(out)]) == 0
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    model.float()
    for prompt, expected in zip(PROMPTS, said, strict=True):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.no_grad():
            found = model.generate(**ids, max_new_tokens=TOKENS, do_sample=False)
        text = tokenizer.decode(found[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        assert text == expected


def test_llama_cpp_answers_from_the_file_as_we_do(tmp_path: Path, said: list[str]) -> None:
    pytest.importorskip("gguf")
    llama: Any = pytest.importorskip("xllamacpp")
    out = tmp_path / "gguf"
    assert main(["export", "accord:base", "--to", "gguf", "--out", str(out)]) == 0
    settings = llama.CommonParams()
    settings.model.path = str(out / "model.gguf")
    settings.n_ctx, settings.cpuparams.n_threads = 512, 1
    server = llama.Server(settings)
    for prompt, expected in zip(PROMPTS, said, strict=True):
        asked = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": TOKENS,
        }
        reply = server.handle_chat_completions(asked)  # by the template inside the file
        assert reply["choices"][0]["message"]["content"] == expected
