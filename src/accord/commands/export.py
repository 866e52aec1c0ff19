"""accord export: a model for other programs, chat template included."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from rich.console import Console

from accord.core.errors import ConfigError, ModelError

_PROMPTS = ("Hello!", "What is the capital of France?", "Write a short poem about rain.")
_TOKENS = 24
_CHATML = '''TEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""'''


def export(arguments: list[str]) -> int:
    """Write a model as a Hugging Face directory, a GGUF file, or an Ollama directory."""
    parser = argparse.ArgumentParser(prog="accord export", description=export.__doc__)
    parser.add_argument("model", help="a model's directory, or one of adapters")
    parser.add_argument("--to", choices=["hf", "gguf", "ollama"], default="hf")
    parser.add_argument("--out", type=Path, required=True, help="directory to make")
    parser.add_argument(
        "--keep_adapter", action="store_true", help="hf: adapters stay adapters of their base"
    )
    options = parser.parse_args(arguments)

    from accord.core.assets import resolve_asset

    source = resolve_asset(options.model)
    if options.out.exists():
        raise ConfigError(f"{options.out} exists; export to a new directory")
    if options.keep_adapter:
        _copy_adapter(source, options)
    else:
        _export(source, options)
    Console(soft_wrap=True).print(f"{options.out}: {options.to}", markup=False, highlight=False)
    return 0


def _copy_adapter(source: str, options: argparse.Namespace) -> None:
    from accord.models.adapter_files import is_adapter

    if options.to != "hf" or not is_adapter(source):
        raise ConfigError("--keep_adapter is for directories of adapters, and for --to hf")
    shutil.copytree(source, options.out)


def _export(source: str, options: argparse.Namespace) -> None:
    import torch
    from transformers import AutoConfig

    from accord.core.files import atomic_directory
    from accord.corpora.encoding import ChatEncoder
    from accord.models.adapter_files import base_of
    from accord.models.loading import load_policy, load_tokenizer, named_errors, write_model

    with named_errors(source):
        stored = getattr(AutoConfig.from_pretrained(base_of(source)), "dtype", None)
    cpu = torch.device("cpu")
    model = load_policy(source, device=cpu, dtype=stored or torch.float32)
    tokenizer = load_tokenizer(source)
    encoder = ChatEncoder(tokenizer)
    with atomic_directory(options.out) as temporary:
        if options.to == "hf":
            write_model(model, tokenizer, temporary)
            _check(model, load_policy(str(temporary), device=cpu, dtype=model.dtype), encoder)
        else:
            from accord.publishing.gguf import write_gguf

            write_gguf(model, encoder, temporary / "model.gguf", name=options.out.name)
            if options.to == "ollama":
                (temporary / "Modelfile").write_text(modelfile(encoder, model.config), "utf-8")


def _check(before: Any, after: Any, encoder: Any) -> None:
    """What was written is read back, and says the same.

    Raises:
        ModelError: it does not.
    """
    from accord.core.types import Message, SamplingParams
    from accord.engine.generate import generate
    from accord.engine.local import LocalEngine

    prompts = [encoder.encode_prompt([Message(role="user", content=text)]) for text in _PROMPTS]
    said = [
        [
            result.response_ids
            for result in generate(
                LocalEngine(model, encoder), prompts, SamplingParams(_TOKENS, 0.0), seed=0
            )
        ]
        for model in (before, after)
    ]
    if said[0] != said[1]:
        raise ModelError("what was written answers differently from the model; nothing was kept")


def modelfile(encoder: Any, config: Any) -> str:
    """Ollama's: where the weights are, where a turn ends, and the template if it is ChatML.

    Of other templates Ollama knows many by the one that is in the GGUF file.
    """
    end = encoder.tokenizer.convert_ids_to_tokens(encoder.end_of_turn_id)
    lines = ["FROM ./model.gguf", f"PARAMETER num_ctx {config.max_position_embeddings}"]
    lines.append(f'PARAMETER stop "{end}"')
    turns = [{"role": "user", "content": "a"}]
    rendered = encoder.tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    if rendered == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n":
        lines.append(_CHATML)
    return "\n".join(lines) + "\n"
