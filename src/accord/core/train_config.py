"""Knobs that every stage which trains a model has; rates and sizes get their own defaults there."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from accord.core.config import InputPath, StageConfig


class TrainConfig(StageConfig):
    """What the training stages share."""

    shares_work: ClassVar[bool] = True

    model_name_or_path: InputPath
    """model to start from: a Hugging Face directory or hub name"""
    learning_rate: float = Field(default=1e-5, gt=0)
    """peak rate, after linear warm-up"""
    per_device_train_batch_size: int = Field(default=16, ge=1)
    """examples an optimizer step"""
    tokens_per_micro_batch: int = Field(default=8192, ge=1)
    """a step's batch is split so that no piece has more padded tokens; sets memory, not results"""
    num_train_epochs: float = Field(default=1.0, gt=0)
    """passes over the data"""
    max_steps: int = -1
    """stop after this many optimizer steps; -1 leaves it to num_train_epochs"""
    max_length: int = Field(default=1024, ge=2)
    """longest prompt plus response in tokens; longer ones are cut at the prompt's start"""
    warmup_steps: int = Field(default=10, ge=0)
    """steps of linear warm-up"""
    weight_decay: float = Field(default=0.0, ge=0)
    """decoupled, on matrices"""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """gradients above this norm are scaled down"""
    bf16: bool = False
    """run the trunk in bfloat16 (weights and log-probs stay float32)"""
    use_peft: bool = False
    """train LoRA adapters instead of all weights, at ten times the default learning_rate unless one
    is given; the reference is the adapter switched off"""
    lora_r: int = Field(default=16, ge=1)
    """rank of the adapters"""
    lora_alpha: int = Field(default=32, ge=1)
    """scale of the adapters: their output is multiplied by alpha / rank"""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """share of the adapters' inputs hidden in each training pass; what samples, evaluates or is the
    reference hides nothing"""
    lora_target_modules: list[str] = Field(default=["all-linear"], min_length=1)
    """names of the linear layers that get adapters, such as q_proj; all-linear takes every one but
    the head"""
    use_rslora: bool = False
    """scale the adapters by alpha / sqrt(rank) instead, for high ranks"""
    load_in_4bit: bool = False
    """QLoRA: keep the frozen base in four bits a weight (needs use_peft and bitsandbytes); `model/`
    is saved in float32, merged"""
    save_adapter: bool = False
    """also save the adapters alone, in `adapter/` beside `model/`, for peft"""
    eval_steps: int = Field(default=50, ge=1)
    """steps between evaluations"""
    save_steps: int = Field(default=100, ge=1)
    """steps between checkpoints"""
    save_total_limit: int = Field(default=2, ge=1)
    """newest checkpoints that stay; beside them the best one does, by the held-out metric, if it
    was measured when one was saved (let save_steps be a multiple of eval_steps)"""

    @model_validator(mode="before")
    @classmethod
    def _adapters_learn_faster(cls, values: Any) -> Any:
        """Source: Schulman et al. 2025, "LoRA without regret", thinkingmachines.ai/blog/lora."""
        if not isinstance(values, dict) or values.get("use_peft") is not True:
            return values
        default = cls.model_fields["learning_rate"].default
        return {"learning_rate": float(f"{10 * default:g}"), **values}

    @model_validator(mode="after")
    def _adapters_are_there(self) -> Self:
        for name in ("load_in_4bit", "save_adapter"):
            if getattr(self, name) and not self.use_peft:
                raise ValueError(f"{name} needs use_peft: only adapters can do that")
        return self
