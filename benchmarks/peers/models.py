"""Random Llamas, built on the fly from a seed, with the base model's tokenizer.

python -m benchmarks.peers.models        # builds the one of 100M parameters if it is not there
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers import work

LARGE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "heads": 12}
SMALL = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "heads": 4}


def build(folder: Path, *, vocabulary: int, tied: bool, context: int, **shape: int) -> None:
    """Write a float32 Llama of seed 0 and a tokenizer to a folder, unless it is there."""
    if folder.exists():
        return
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = shape.pop("heads")
    arguments: dict[str, Any] = {
        **shape, "vocab_size": vocabulary, "num_attention_heads": heads, "bos_token_id": 0,
        "num_key_value_heads": heads, "max_position_embeddings": context, "eos_token_id": 2,
        "pad_token_id": 3, "tie_word_embeddings": tied,
    }  # fmt: skip
    torch.manual_seed(0)
    policy: Any = LlamaForCausalLM(LlamaConfig(**arguments))
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    policy.save_pretrained(unfinished)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (Path(work.base_model()) / name).exists():
            shutil.copyfile(Path(work.base_model()) / name, unfinished / name)
    unfinished.rename(folder)


def build_large() -> None:
    """97.5M parameters: 12 layers of width 768, 8192 tokens, a head of its own."""
    build(work.random_model(), vocabulary=8192, tied=False, context=1024, **LARGE)


def build_small(vocabulary: int, context: int) -> Path:
    """The base model's trunk with another vocabulary, for the memory curves."""
    folder = work.ROOT / f"build/bench/llama-{vocabulary}-{context}"
    build(folder, vocabulary=vocabulary, tied=True, context=context, **SMALL)
    return folder


if __name__ == "__main__":
    build_large()
