"""GGUF files for llama.cpp and what is built on it, of Llama-like models with byte-level BPE.

`gguf` is an extra (`pip install 'accord[gguf]'`). It writes the format; which tensor is which, and
what llama.cpp has to know of the tokenizer, is said here. What it would read wrongly is refused.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accord.core.errors import ConfigError, ModelError
from accord.corpora.encoding import ChatEncoder

_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}@| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {
    (): "gpt-2",
    (r"\d",): "smollm",
    (_GPT4.replace("@", ""),): "qwen2",
    (_GPT4.replace("@", "{1,3}"),): "llama-bpe",
}
"""llama.cpp's names for how text is split before the merges, by the patterns before the bytes."""
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHERS = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_gguf(model: Any, encoder: ChatEncoder, path: Path, *, name: str) -> None:
    """Write a policy as one GGUF file, in its own precision (norms in float32), atomically.

    Args:
        model: of `load_policy`.
        encoder: its tokenizer and chat template.
        path: of the file.
        name: that programs show.

    Raises:
        ConfigError: the extra is not installed.
        ModelError: llama.cpp would read another model, or another tokenizer, than this one.
    """
    gguf = _library()
    config = model.config
    architecture = _ARCHITECTURES.get(config.model_type)
    rope = config.rope_parameters or {}
    if architecture is None or rope.get("rope_type", "default") != "default":
        raise ModelError(
            f"gguf: a {config.model_type!r} with {rope.get('rope_type', 'default')!r} positions is "
            f"not known; known: {', '.join(_ARCHITECTURES)} with plain ones"
        )
    kind = _TYPES.get(model.dtype, "F32")
    pre = _split_name(encoder.tokenizer)
    temporary = path.with_name(f".{path.name}.partial")
    writer = gguf.GGUFWriter(temporary, architecture)
    try:
        _describe(writer, config, name, gguf.LlamaFileType[_file_type(kind)])
        _describe_tokenizer(gguf, writer, encoder, pre, config.vocab_size)
        for tensor_name, tensor in model.state_dict().items():
            _add_tensor(gguf, writer, config, architecture, tensor_name, tensor, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ConfigError(
            "writing GGUF needs the library gguf: pip install 'accord[gguf]'"
        ) from error
    return gguf


def _file_type(kind: str) -> str:
    return {"F32": "ALL_F32", "F16": "MOSTLY_F16", "BF16": "MOSTLY_BF16"}[kind]


def _describe(writer: Any, config: Any, name: str, file_type: int) -> None:
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(dim)
    writer.add_value_length(dim)
    writer.add_rope_dimension_count(dim)
    writer.add_rope_freq_base(float((config.rope_parameters or {}).get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _describe_tokenizer(gguf: Any, writer: Any, encoder: ChatEncoder, pre: str, size: int) -> None:
    tokenizer = encoder.tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    known = {token_id: token for token, token_id in tokenizer.get_vocab().items()}
    added = tokenizer.added_tokens_decoder
    tokens, kinds = [], []
    for token_id in range(size):
        token = added.get(token_id)
        kind = gguf.TokenType.NORMAL if token_id in known else gguf.TokenType.UNUSED
        if token is not None:
            kind = gguf.TokenType.CONTROL if token.special else gguf.TokenType.USER_DEFINED
        tokens.append(token.content if token else known.get(token_id, f"[PAD{token_id}]"))
        kinds.append(kind)
    merges = state["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_eos_token_id(encoder.end_of_turn_id)
    writer.add_pad_token_id(encoder.pad_id)
    starts = [i for i in tokenizer.encode("") if i == tokenizer.bos_token_id]
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_add_bos_token(bool(starts))
    writer.add_chat_template(tokenizer.chat_template)


def _split_name(tokenizer: Any) -> str:
    """How llama.cpp calls this tokenizer's first cut.

    Raises:
        ModelError: it has no name for it, so it would encode texts in another way.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    pre = state.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    patterns = tuple(
        r"\d" if step["type"] == "Digits" else step.get("pattern", {}).get("Regex", "")
        for step in steps
        if step.get("type") in ("Split", "Digits")
    )
    is_byte_level = bool(steps) and steps[-1].get("type") == "ByteLevel"
    name = _SPLITS.get(patterns)
    if state["model"]["type"] != "BPE" or not is_byte_level or name is None:
        raise ModelError("gguf: llama.cpp has no name for how this tokenizer cuts texts")
    return name


def _add_tensor(
    gguf: Any, writer: Any, config: Any, architecture: str, name: str, tensor: Tensor, kind: str
) -> None:
    if name == "lm_head.weight" and config.tie_word_embeddings:
        return
    known = _OTHERS.get(name)
    if known is None:
        parts = name.split(".")
        inner, end = ".".join(parts[3:-1]), parts[-1]
        if parts[:2] != ["model", "layers"] or inner not in _LAYER:
            raise ModelError(f"gguf: nothing is known of the tensor {name}")
        known = f"blk.{parts[2]}.{_LAYER[inner]}.{end}"
        if architecture == "llama" and inner in ("self_attn.q_proj", "self_attn.k_proj"):
            is_query = inner.endswith("q_proj")
            heads = config.num_attention_heads if is_query else config.num_key_value_heads
            tensor = _interleaved(tensor, heads)
    data = tensor.detach().cpu().float().contiguous().numpy()
    wanted = gguf.GGMLQuantizationType[kind if tensor.ndim > 1 else "F32"]
    writer.add_tensor(known, gguf.quants.quantize(data, wanted), raw_dtype=wanted)


def _interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of each head as llama.cpp turns them: neighbours, where here it is the two halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)
