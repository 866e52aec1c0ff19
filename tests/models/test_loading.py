"""Loading refuses what is missing or damaged; saving survives a full disk."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from accord.core.errors import ModelError, StorageError
from accord.models import logprobs
from accord.models.loading import evaluating, load_policy, load_tokenizer, save_model

CPU = torch.device("cpu")


@pytest.fixture
def copied(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "copy"))


@pytest.mark.parametrize("load", [load_tokenizer, lambda path: load_policy(path, device=CPU)])
def test_a_path_without_a_model(load: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        load(str(tmp_path))
    with pytest.raises(ModelError, match="no such model directory"):
        load(str(tmp_path / "absent"))
    with pytest.raises(ModelError, match="no such model directory"):
        load("runs/no-such-run/sft/model")


def test_a_checkpoint_cut_short(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(str(copied), device=CPU)


def test_missing_weights_are_not_made_up(copied: Path) -> None:
    weights = copied / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights are missing \(model.layers.1.mlp.up_proj"):
        load_policy(str(copied), device=CPU)


def test_logits_that_would_be_computed_wrongly(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = logprobs.float32_logits
    monkeypatch.setattr(logprobs, "float32_logits", lambda *given: original(*given) * 1.5)
    with pytest.raises(ModelError, match="changes its logits"):
        load_policy(str(tiny_model_dir), device=CPU)


def test_saved_and_loaded_again(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = load_policy(str(tiny_model_dir), device=CPU)
    assert not model.training and model.dtype == torch.float32
    save_model(model, load_tokenizer(str(tiny_model_dir)), tmp_path / "model")
    again = load_policy(str(tmp_path / "model"), device=CPU)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert load_tokenizer(str(tmp_path / "model")).chat_template


def test_a_full_disk_leaves_the_old_model(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = load_policy(str(copied), device=CPU), load_tokenizer(str(copied))
    before = (copied / "model.safetensors").read_bytes()

    def refuse(directory: Path) -> None:
        raise SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})")

    monkeypatch.setattr(model, "save_pretrained", refuse)
    with pytest.raises(StorageError, match="No space left"):
        save_model(model, tokenizer, copied)
    assert (copied / "model.safetensors").read_bytes() == before
    assert list(tmp_path.iterdir()) == [copied]


def test_evaluating_restores_each_module() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]
