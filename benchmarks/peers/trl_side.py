"""TRL's side (and transformers' generate): its trainers as they come, on the same rows."""

import gc
import sys
import tempfile
from typing import Any

import torch
from benchmarks.peers import work
from benchmarks.peers.measured import Meter
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)


class Watch(TrainerCallback):  # type: ignore[misc]
    """Tells the meter of every optimizer step."""

    def __init__(self) -> None:
        self.meter: Meter | None = None

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.meter = Meter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        assert self.meter
        self.meter.step()

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        if self.meter and logs and "loss" in logs:
            self.meter.losses.append(float(logs["loss"]))


def arguments(case: str, bf16: bool) -> dict[str, Any]:
    """What all of its configs are given."""
    return {
        "output_dir": tempfile.mkdtemp(), "bf16": bf16, "report_to": "none",
        "use_cpu": not torch.cuda.is_available(),
        "per_device_train_batch_size": work.BATCH[case], "max_steps": work.STEPS[case],
        "learning_rate": work.LEARNING_RATE, "warmup_steps": 1, "save_strategy": "no",
        "gradient_checkpointing": False, "logging_steps": 1, "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
    }  # fmt: skip


def train(case: str, bf16: bool) -> None:
    """One measurement of a training method."""
    import trl

    tokenizer = AutoTokenizer.from_pretrained(work.model())
    policy = AutoModelForCausalLM.from_pretrained(work.model(), dtype=torch.float32)
    rows = Dataset.from_list(work.rows_of(case))
    values, watch = arguments(case, bf16), Watch()
    if case in ("grpo", "rloo"):
        values.pop("train_sampling_strategy")  # they have a sampler of their own
    shared = {"train_dataset": rows, "processing_class": tokenizer, "callbacks": [watch]}
    trainer: Any
    if case == "sft":
        config = trl.SFTConfig(**values, max_length=work.MAX_LENGTH)
        trainer = trl.SFTTrainer(policy, config, **shared)
    elif case == "reward":
        config = trl.RewardConfig(**values, max_length=work.MAX_LENGTH)
        model = AutoModelForSequenceClassification.from_pretrained(
            work.model(), num_labels=1, dtype=torch.float32
        )
        trainer = trl.RewardTrainer(model, config, **shared)
    elif case in ("dpo", "kto"):
        reference = AutoModelForCausalLM.from_pretrained(work.model(), dtype=torch.float32)
        kind, trainer_class = {
            "dpo": (trl.DPOConfig, trl.DPOTrainer),
            "kto": (trl.KTOConfig, trl.KTOTrainer),
        }[case]
        # Neither side reads its reference inside the timed steps.
        config = kind(**values, max_length=work.MAX_LENGTH, beta=0.1, precompute_ref_log_probs=True)
        trainer = trainer_class(policy, reference, config, **shared)
    else:
        kind, trainer_class = {
            "grpo": (trl.GRPOConfig, trl.GRPOTrainer),
            "rloo": (trl.RLOOConfig, trl.RLOOTrainer),
        }[case]
        config = kind(
            **values, beta=0.0, num_generations=work.GENERATIONS, temperature=1.0,
            max_completion_length=work.NEW_TOKENS, steps_per_generation=1,
        )  # fmt: skip
        trainer = trainer_class(policy, work.reward, config, **shared)
    trainer.train()
    assert watch.meter
    watch.meter.report()


def ppo(bf16: bool) -> None:
    """TRL 1.12's PPO, without its garbage collections."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    gc.collect = lambda *_: 0  # type: ignore[assignment]
    tokenizer = AutoTokenizer.from_pretrained(work.model(), padding_side="left")
    rows = [
        dict(
            tokenizer.apply_chat_template(
                row["prompt"], add_generation_prompt=True, return_dict=True
            )
        )
        for row in work.rows_of("ppo")
    ]
    values = arguments("ppo", bf16)
    for name in ("max_steps", "train_sampling_strategy"):
        values.pop(name)
    config = PPOConfig(
        **values, total_episodes=work.STEPS["ppo"] * work.BATCH["ppo"], num_ppo_epochs=4,
        num_mini_batches=1, response_length=work.NEW_TOKENS, temperature=1.0, stop_token="eos",
        local_rollout_forward_batch_size=work.BATCH["ppo"], num_sample_generations=0,
    )  # fmt: skip
    policies = [
        AutoModelForCausalLM.from_pretrained(work.model(), dtype=torch.float32) for _ in range(2)
    ]
    heads = [
        AutoModelForSequenceClassification.from_pretrained(
            work.model(), num_labels=1, dtype=torch.float32
        )
        for _ in range(2)
    ]
    watch = Watch()
    trainer: Any = PPOTrainer(
        config, tokenizer, policies[0], policies[1], heads[0], Dataset.from_list(rows), heads[1],
        eval_dataset=Dataset.from_list(rows[:2]), callbacks=[watch],
    )  # fmt: skip
    trainer.train()
    assert watch.meter
    watch.meter.report()


def sample(bf16: bool) -> None:
    """The same with `generate`."""
    tokenizer = AutoTokenizer.from_pretrained(work.model(), padding_side="left")
    dtype = torch.bfloat16 if bf16 else torch.float32
    policy: Any = AutoModelForCausalLM.from_pretrained(work.model(), dtype=dtype).eval()
    policy.to("cuda" if torch.cuda.is_available() else "cpu")
    prompts = [
        row["prompt"] for row in work.read("demonstrations/gpteacher.jsonl.gz", work.SAMPLING_BATCH)
    ]
    batch = tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    ).to(policy.device)
    meter = Meter()
    for seed in range(5):
        torch.manual_seed(seed)
        with torch.no_grad():
            policy.generate(
                **batch, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=work.NEW_TOKENS,
                min_new_tokens=work.NEW_TOKENS,
            )  # fmt: skip
        meter.step()
    meter.report(prompt_tokens=int(batch["attention_mask"].sum()))


if __name__ == "__main__":
    torch.set_num_threads(2)
    case, precision = sys.argv[1:]
    if case == "sampling":
        sample(precision == "bf16")
    elif case == "ppo":
        ppo(precision == "bf16")
    else:
        train(case, precision == "bf16")
