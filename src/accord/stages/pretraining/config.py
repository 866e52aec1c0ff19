"""Knobs of the pre-training stage."""

from typing import ClassVar

from pydantic import Field

from accord.core.config import InputPath, StageConfig


class Config(StageConfig):
    """Next-token prediction on packed text, from scratch or onwards from a model."""

    shares_work: ClassVar[bool] = True

    dataset_name: list[InputPath]
    """data files or names; rows of text, messages, prompt+completion or question+answer"""
    repeats: list[int] = Field(default=[])
    """how often each data source enters an epoch; empty means once each"""
    remove_strings: list[str] = Field(default=[])
    """strings to delete from texts, such as end marks that another tokenizer left"""
    model_name_or_path: InputPath | None = None
    """continue from this model; without it a Llama of the sizes below is made"""
    vocab_size: int = Field(default=4096, ge=300)
    """tokens of the byte-level BPE that is trained on the data (from scratch only)"""
    hidden_size: int = Field(default=256, ge=16)
    """width (from scratch only)"""
    num_hidden_layers: int = Field(default=4, ge=1)
    """depth (from scratch only)"""
    num_attention_heads: int = Field(default=4, ge=1)
    """heads (from scratch only)"""
    max_length: int = Field(default=512, ge=8)
    """tokens a packed row"""
    context_length: int = Field(default=1024, ge=8)
    """longest input that the new model accepts (from scratch only)"""
    copy_fraction: float = Field(default=0.0, ge=0, le=1)
    """share of a batch's rows whose text is doubled, span by span: a small model that sees few
    tokens learns from it to copy what stands in its context"""
    per_device_train_batch_size: int = Field(default=16, ge=1)
    """packed rows a step"""
    num_train_epochs: float = Field(default=1.0, gt=0)
    """passes over the packed rows"""
    max_steps: int = -1
    """stop after this many steps; -1 leaves it to num_train_epochs"""
    learning_rate: float = Field(default=3e-3, gt=0)
    """peak rate of AdamW (embeddings, norms)"""
    muon_learning_rate: float = Field(default=2e-2, gt=0)
    """peak rate of Muon (hidden matrices)"""
    warmup_steps: int = Field(default=50, ge=1)
    """linear warm-up"""
    weight_decay: float = Field(default=0.05, ge=0)
    """decoupled, on matrices"""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """gradients above this norm are scaled down"""
    bf16: bool = False
    """run the trunk in bfloat16 (weights and log-probs stay float32)"""
    eval_fraction: float = Field(default=0.01, gt=0, lt=1)
    """share of documents held out for the validation loss"""
    eval_steps: int = Field(default=200, ge=1)
    """steps between validation losses"""
    save_steps: int = Field(default=200, ge=1)
    """steps between checkpoints"""
    save_total_limit: int = Field(default=2, ge=1)
    """newest checkpoints that stay; beside them the best one does, by the held-out metric, if it
    was measured when one was saved (let save_steps be a multiple of eval_steps)"""
