"""TRL's side (and transformers' generate): its trainers as they come, on the same rows."""

import gc
import math
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
    """Tells the meter of every optimizer step, and what was logged of it."""

    def __init__(self) -> None:
        self.meter = Meter()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.meter.is_loaded()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.meter.step()

    def on_log(self, *_: Any, logs: Any = None, **__: Any) -> None:
        if logs:
            reward = logs.get("reward", logs.get("objective/scores"))
            self.meter.learned(logs.get("loss"), reward)


def arguments(case: str, configuration: str) -> dict[str, Any]:
    """What all of its configs are given: our schedule and optimizer."""
    constant = {"lr_scheduler_type": "constant_with_warmup"}
    cosine = {
        "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}
    }  # fmt: skip
    return {
        "output_dir": tempfile.mkdtemp(), "use_cpu": not torch.cuda.is_available(),
        "bf16": configuration == "bf16",
        "per_device_train_batch_size": work.BATCH[case], "max_steps": work.STEPS[case],
        "learning_rate": work.LEARNING_RATE, "warmup_steps": 0, "adam_beta2": 0.95,
        **(constant if work.method(case) in work.ONLINE else cosine), "report_to": "none",
        "seed": work.SEED,
        "gradient_checkpointing": False, "logging_steps": 1, "disable_tqdm": True,
        "save_strategy": "no", "train_sampling_strategy": "sequential",
    }  # fmt: skip


def policy_of(case: str, configuration: str) -> Any:
    """The model; in the configuration `bf16-weights` without float32 copies of its weights."""
    dtype = torch.bfloat16 if configuration == "bf16-weights" else torch.float32
    return AutoModelForCausalLM.from_pretrained(work.model(case), dtype=dtype)


def scorer_of(case: str, configuration: str, *, scale: float) -> Any:
    """A classifier whose head starts as on our side: normal from seed 0, or at 0."""
    dtype = torch.bfloat16 if configuration == "bf16-weights" else torch.float32
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        work.model(case), num_labels=1, dtype=dtype
    )
    size = model.score.weight.shape
    head = torch.randn(size, generator=torch.Generator().manual_seed(0)) / math.sqrt(size[1] + 1)
    with torch.no_grad():
        model.score.weight.copy_(scale * head)
    return model


def trainer_of(case: str, configuration: str, **shared: Any) -> Any:
    """A trainer as it comes."""
    import trl

    values, kind = arguments(case, configuration), work.method(case)
    if kind == "sft":
        config = trl.SFTConfig(**values, max_length=work.MAX_LENGTH)
        return trl.SFTTrainer(policy_of(case, configuration), config, **shared)
    if kind == "reward":
        config = trl.RewardConfig(**values, max_length=work.MAX_LENGTH)
        return trl.RewardTrainer(scorer_of(case, configuration, scale=1.0), config, **shared)
    if kind in ("dpo", "kto"):
        config_class, trainer_class = {
            "dpo": (trl.DPOConfig, trl.DPOTrainer),
            "kto": (trl.KTOConfig, trl.KTOTrainer),
        }[kind]
        # Neither side reads its reference inside the timed steps.
        config = config_class(
            **values, max_length=work.MAX_LENGTH, beta=0.1, precompute_ref_log_probs=True
        )
        models = [policy_of(case, configuration) for _ in range(2)]
        return trainer_class(*models, config, **shared)
    values.pop("train_sampling_strategy")  # they have a sampler of their own
    config_class, trainer_class = {
        "grpo": (trl.GRPOConfig, trl.GRPOTrainer),
        "rloo": (trl.RLOOConfig, trl.RLOOTrainer),
    }[kind]
    config = config_class(
        **values, beta=0.0, num_generations=work.GENERATIONS, temperature=1.0,
        max_completion_length=work.NEW_TOKENS, steps_per_generation=1, shuffle_dataset=False,
    )  # fmt: skip
    return trainer_class(policy_of(case, configuration), work.reward, config, **shared)


def tokenizer_of(case: str) -> Any:
    """The model's; its template begins a line before each turn instead of after it.

    So rows end with their last end of turn, and both sides read the same tokens.
    """
    tokenizer = AutoTokenizer.from_pretrained(work.model(case))
    ended, begun = "<|im_end|>\n", "<|im_start|>"
    template: str = tokenizer.chat_template
    if template.count(ended) != 1 or template.count(begun) != 2:
        raise ValueError("the model has another template than this was written for")
    turn, reply = template.replace(ended, "<|im_end|>").split("{% endfor %}")
    turn = turn.replace(begun, "{% if not loop.first %}{{ '\\n' }}{% endif %}" + begun)
    reply = reply.replace(begun, "{{ '\\n' }}" + begun)
    tokenizer.chat_template = turn + "{% endfor %}" + reply
    return tokenizer


def train(case: str, configuration: str) -> None:
    """One measurement of a training method."""
    watch = Watch()
    trainer = trainer_of(
        case,
        configuration,
        train_dataset=Dataset.from_list(work.rows_of(case)),
        processing_class=tokenizer_of(case),
        callbacks=[watch],
    )
    trainer.train()
    watch.meter.report()


def score_by_function(tokenizer: Any, reward_model: Any) -> None:
    """Let the reward be our function: this trainer only knows models, which would cost it time."""
    from trl.experimental.ppo import ppo_trainer

    by_model = ppo_trainer.get_reward

    def get_reward(model: Any, ids: Any, pad_id: int, context: int) -> Any:
        if model is not reward_model:
            return by_model(model, ids, pad_id, context)
        texts = tokenizer.batch_decode(ids[:, context:], skip_special_tokens=True)
        return None, torch.tensor(work.reward(texts), device=ids.device), None

    ppo_trainer.get_reward = get_reward


def ppo(case: str, configuration: str) -> None:
    """TRL 1.12's PPO, without its garbage collections."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    gc.collect = lambda *_: 0  # type: ignore[assignment]
    tokenizer = AutoTokenizer.from_pretrained(work.model(case), padding_side="left")
    rows = [
        dict(
            tokenizer.apply_chat_template(
                row["prompt"], add_generation_prompt=True, return_dict=True
            )
        )
        for row in work.rows_of(case)
    ]
    values = arguments(case, configuration)
    for name in ("max_steps", "train_sampling_strategy"):
        values.pop(name)
    config = PPOConfig(
        **values, total_episodes=work.STEPS[case] * work.BATCH[case], num_mini_batches=1,
        num_ppo_epochs=work.PPO_EPOCHS, response_length=work.NEW_TOKENS, temperature=1.0,
        stop_token="eos", local_rollout_forward_batch_size=work.BATCH[case],
        num_sample_generations=0, kl_coef=work.KL_COEF,
    )  # fmt: skip
    watch, reward_model = Watch(), torch.nn.Identity()
    score_by_function(tokenizer, reward_model)
    policy, reference = (policy_of(case, configuration) for _ in range(2))
    trainer: Any = PPOTrainer(
        config, tokenizer, policy, reference, reward_model, Dataset.from_list(rows),
        scorer_of(case, configuration, scale=0.0), eval_dataset=Dataset.from_list(rows[:2]),
        callbacks=[watch],
    )  # fmt: skip
    trainer.train()
    watch.meter.report()


def sample(case: str, configuration: str) -> None:
    """The same with `generate`."""
    tokenizer = AutoTokenizer.from_pretrained(work.model(case), padding_side="left")
    dtype = torch.bfloat16 if configuration == "bf16" else torch.float32
    policy: Any = AutoModelForCausalLM.from_pretrained(work.model(case), dtype=dtype).eval()
    policy.to("cuda" if torch.cuda.is_available() else "cpu")
    batch = tokenizer.apply_chat_template(
        work.prompts_of(case), add_generation_prompt=True, padding=True, return_tensors="pt",
        return_dict=True,
    ).to(policy.device)  # fmt: skip
    meter = Meter()
    meter.is_loaded()
    for seed in range(work.STEPS[case]):
        torch.manual_seed(seed)
        with torch.no_grad():
            policy.generate(
                **batch, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=work.NEW_TOKENS,
                min_new_tokens=work.NEW_TOKENS,
            )  # fmt: skip
        meter.step()
    meter.report()


if __name__ == "__main__":
    torch.set_num_threads(2)
    run = {"sampling": sample, "ppo": ppo}.get(work.method(sys.argv[1]), train)
    run(*sys.argv[1:])
