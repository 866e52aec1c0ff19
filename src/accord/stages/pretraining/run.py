"""Pre-training: read, pack, predict the next token, keep what resumes."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.errors import ConfigError, DataError
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder
from accord.corpora.formats import to_text
from accord.corpora.packing import Ids, pack
from accord.corpora.readers import read_rows
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.models.logprobs import token_logprobs
from accord.objectives.cross_entropy import token_cross_entropy
from accord.stages.pretraining.config import Config
from accord.stages.pretraining.tokenizer import train_tokenizer
from accord.training.batches import epoch_order
from accord.training.interrupt import stop_on_signal
from accord.training.state import Checkpoints
from accord.training.step import Optimization, warmup_cosine

Document = str | tuple[Message, ...]


@dataclass(frozen=True)
class Result:
    """What pre-training leaves; losses in nats a token."""

    model: Path
    validation_loss: float
    train_tokens: int
    tokens_per_epoch: int
    validation_tokens: int
    parameters: int
    steps: int


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a base model and save it as a Hugging Face directory under `model/`."""
    seed_everything(config.seed)
    train_documents, held_out = _read_documents(config)
    model, tokenizer = _start_model(config, train_documents)
    encoder = ChatEncoder(tokenizer)
    train = _pack(train_documents, encoder, config)
    validation = _pack(held_out, encoder, config)
    steps_per_epoch = len(train[0]) // config.per_device_train_batch_size
    total = (
        config.max_steps if config.max_steps > 0 else int(config.num_train_epochs * steps_per_epoch)
    )
    if min(steps_per_epoch, total, len(validation[0])) == 0:
        raise DataError(
            f"too little text: {len(train[0])} training and {len(validation[0])} validation rows "
            f"of {config.max_length} tokens; add data, or lower max_length or the batch size"
        )
    optimizations = {"model": _optimization(model, config, total, run_dir)}
    checkpoints = Checkpoints(
        run_dir,
        modules={"model": model},
        optimizations=optimizations,
        every=config.save_steps,
        total=total,
        keep=config.save_total_limit,
    )
    restored = checkpoints.restore()

    with stop_on_signal() as stop, progress_bar("pre-training", total) as bar:
        for step in range(restored[0] if restored else 0, total):
            rows = _batch_rows(len(train[0]), step, steps_per_epoch, config)
            batch = _with_copies(_tensors(train, rows), step, config)
            loss = _learn(model, batch, config)
            report = optimizations["model"].step(loss, batch)
            done = step + 1
            metrics = {
                "loss": loss,
                "grad_norm": report.grad_norm,
                "learning_rate": report.learning_rate,
                "epoch": done / steps_per_epoch,
            }
            if done % config.eval_steps == 0 or done == total:
                metrics["validation/loss"] = validation_loss(model, validation, config)
            run_dir.log(done, metrics)
            bar.update(done, {"loss": loss})
            checkpoints.after(done, {}, stop, metrics)
    save_model(model.bfloat16(), tokenizer, run_dir.model_path)
    return Result(
        model=run_dir.model_path,
        validation_loss=validation_loss(model.float(), validation, config),  # type: ignore[no-untyped-call]
        train_tokens=total * config.per_device_train_batch_size * config.max_length,
        tokens_per_epoch=int(train[0].size),
        validation_tokens=int(validation[0].size),
        parameters=sum(p.numel() for p in model.parameters()),
        steps=total,
    )


def _start_model(config: Config, documents: list[Document]) -> tuple[PreTrainedModel, Any]:
    """The model to go on from, or a new Llama with a tokenizer trained on the documents."""
    if config.model_name_or_path:
        tokenizer = load_tokenizer(config.model_name_or_path)
        return load_policy(config.model_name_or_path, device=default_device()), tokenizer
    texts = (text for document in documents for text in _texts(document))
    tokenizer = processes.by_main(
        lambda: train_tokenizer(
            texts, vocab_size=config.vocab_size, context_length=config.context_length
        )
    )
    fresh: Any = LlamaForCausalLM(_llama_config(config, tokenizer))
    return fresh.to(default_device()), tokenizer


def _read_documents(config: Config) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents; the held-out ones are drawn before any repetition."""
    repeats = config.repeats or [1] * len(config.dataset_name)
    if len(repeats) != len(config.dataset_name):
        raise ConfigError(
            f"repeats has {len(repeats)} entries for {len(config.dataset_name)} data sources"
        )
    train: list[Document] = []
    held_out: list[Document] = []
    rng = np.random.default_rng(config.seed)
    for source, count in zip(config.dataset_name, repeats, strict=True):
        for number, row in enumerate(read_rows(source), start=1):
            document = _clean(to_text(row, f"{source}, row {number}"), config.remove_strings)
            if rng.random() < config.eval_fraction:
                held_out.append(document)
            else:
                train.extend([document] * count)
    order = rng.permutation(len(train))
    return [train[int(i)] for i in order], held_out


def _clean(document: Document, remove: list[str]) -> Document:
    def clean(text: str) -> str:
        for string in remove:
            text = text.replace(string, "")
        return text.strip()

    if isinstance(document, str):
        return clean(document)
    return tuple(Message(role=m["role"], content=clean(m["content"])) for m in document)


def _texts(document: Document) -> list[str]:
    return [document] if isinstance(document, str) else [m["content"] for m in document]


def _llama_config(config: Config, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        # 8/3 of the width, in multiples of 32: a gated MLP with the cost of a plain 4x one
        intermediate_size=math.ceil(config.hidden_size * 8 / 3 / 32) * 32,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_attention_heads,
        max_position_embeddings=config.context_length,
        tie_word_embeddings=True,
        rms_norm_eps=1e-6,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _pack(documents: list[Document], encoder: ChatEncoder, config: Config) -> tuple[Ids, Ids]:
    def encode(document: Document) -> list[int]:
        if isinstance(document, str):
            return [*encoder.encode_text(document), encoder.end_of_turn_id]
        return encoder.encode_conversation(document)[0]

    return pack((encode(document) for document in documents), length=config.max_length)


def _optimization(
    model: nn.Module, config: Config, total_steps: int, run_dir: RunDir
) -> Optimization:
    """Muon for the hidden matrices, AdamW for the embeddings and norms."""
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (hidden if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    muon = torch.optim.Muon(
        hidden, lr=config.muon_learning_rate, weight_decay=config.weight_decay, momentum=0.95
    )
    adamw = torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = warmup_cosine(warmup_steps=config.warmup_steps, total_steps=total_steps, floor=0.05)
    return Optimization(
        [muon, adamw],
        schedule=schedule,
        max_grad_norm=config.max_grad_norm,
        dump_dir=run_dir.path,
    )


def _batch_rows(rows: int, step: int, steps_per_epoch: int, config: Config) -> list[int]:
    epoch, index = divmod(step, steps_per_epoch)
    size = config.per_device_train_batch_size
    return epoch_order(rows, seed=config.seed, epoch=epoch)[index * size : (index + 1) * size]


def _tensors(packed: tuple[Ids, Ids], rows: list[int]) -> tuple[Tensor, Tensor]:
    device = default_device()
    ids = torch.from_numpy(packed[0][rows].astype(np.int64)).to(device)
    return ids, torch.from_numpy(packed[1][rows].astype(np.int64)).to(device)


def _with_copies(batch: tuple[Tensor, Tensor], step: int, config: Config) -> tuple[Tensor, Tensor]:
    """The batch with the text of some rows doubled, span by span: a b c -> a a b b.

    Every other doubled row has its spans' tokens shuffled first, so that only copying predicts
    them. Such a row is one document.
    """
    ids, positions = batch
    rng = np.random.default_rng([config.seed, step, 5])
    length = ids.shape[1]
    for row in range(round(config.copy_fraction * len(ids))):
        span = int(rng.integers(8, 65))
        pieces = [ids[row, i : i + span] for i in range(0, length // 2 + span, span)]
        if row % 2:
            pieces = [p[torch.from_numpy(rng.permutation(len(p))).to(p.device)] for p in pieces]
        ids[row] = torch.cat([torch.cat([p, p]) for p in pieces])[:length]
        positions[row] = torch.arange(length, device=positions.device)
    return ids, positions


def _learn(model: nn.Module, batch: tuple[Tensor, Tensor], config: Config) -> float:
    """Leave the gradients of the batch's mean loss, and give it; each process reads a share."""
    ids, positions = (part[processes.rank() :: processes.count()] for part in batch)
    found = 0.0
    if len(ids):
        loss = _mean_loss(model, (ids, positions), config)
        loss = loss * ((positions > 0).sum() / (batch[1] > 0).sum())
        loss.backward()  # type: ignore[no-untyped-call]
        found = loss.item()
    return processes.summed({"loss": found})["loss"]


def _mean_loss(model: nn.Module, batch: tuple[Tensor, Tensor], config: Config) -> Tensor:
    """Mean over all predicted tokens; a document's first token is not predicted from another."""
    ids, positions = batch
    device = ids.device.type
    with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=config.bf16):
        # No padding here; position ids that restart tell attention where documents end.
        out = token_logprobs(model, ids, None, positions > 0, position_ids=positions)
    return token_cross_entropy(out.logprobs, positions > 0).loss


@torch.no_grad()
def validation_loss(model: nn.Module, packed: tuple[Ids, Ids], config: Config) -> float:
    """Mean nats a predicted token over all packed rows."""
    total, count = 0.0, 0
    for start in processes.share(range(0, len(packed[0]), config.per_device_train_batch_size)):
        rows = list(range(start, min(start + config.per_device_train_batch_size, len(packed[0]))))
        batch = _tensors(packed, rows)
        tokens = int((batch[1] > 0).sum())
        total += _mean_loss(model, batch, config).item() * tokens
        count += tokens
    sums = processes.summed({"total": total, "count": count})
    return sums["total"] / sums["count"]
