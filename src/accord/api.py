"""The stages as functions, for a notebook: models, rows and reward functions as Python objects.

    sft = accord.sft("accord:base", [{"prompt": "Hello", "completion": "Hi there"}, ...])
    ppo = accord.ppo(sft, prompts, reward_funcs=[score], max_steps=30)
    ppo.model.generate(...)

What is given as an object is written into the run's directory first, so that the run has what every
run has: a manifest, metrics, checkpoints, a model that `transformers` loads. Further keyword
arguments are the fields of the stage's config (`accord STAGE --help`); an unknown one is an error
that names the nearest. Every function also takes `output_dir`, `force`, `processing_class`, and
`push_to_hub="USER/NAME"` (with `hub_private`), which uploads the finished model.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from accord.core.config import StageConfig
from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json, write_jsonl
from accord.core.run_dir import RunDir
from accord.models.loading import load_policy, load_tokenizer, save_model
from accord.pipeline import execute
from accord.publishing.hub import check_push, push_model
from accord.rewards.functions import register
from accord.wiring import stage_config

Model = Any
"""A directory or hub name, a `Trained`, or a `transformers` model (with `processing_class`)."""

Data = Any
"""A file or `datasets` name, a `datasets.Dataset`, or a list of rows; of prompts, also a list of
texts or message lists."""

RewardFunction = str | Callable[..., Sequence[float]]


class Trained:
    """A finished stage: where it is, what it found, and what it left.

    Attributes:
        path: the run directory.
        result: the stage's `Result`, as a dict.
    """

    def __init__(self, path: Path, result: dict[str, Any], temporary: str | None = None) -> None:
        self.path = path
        self.result = result
        if temporary:  # goes with this object
            weakref.finalize(self, shutil.rmtree, temporary, ignore_errors=True)

    @property
    def model_path(self) -> Path:
        """The Hugging Face directory."""
        return self.path / "model"

    @cached_property
    def model(self) -> Any:
        """The trained model, loaded when it is first asked for, on the CPU."""
        import torch
        from transformers import AutoConfig

        from accord.models.heads import load_reward_model

        names = AutoConfig.from_pretrained(self.model_path).architectures or [""]
        is_classifier = names[0].endswith("ForSequenceClassification")
        load = load_reward_model if is_classifier else load_policy
        return load(str(self.model_path), device=torch.device("cpu"))

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that lies with the model."""
        return load_tokenizer(str(self.model_path))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """All logged rows, oldest first."""
        return RunDir(self.path).metrics()

    def __repr__(self) -> str:
        numbers = {k: round(v, 4) for k, v in self.result.items() if isinstance(v, float)}
        return f"Trained({str(self.path)!r}, {numbers})"


def sft(model: Model, dataset: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """Imitate demonstrations: rows with prompt and completion, or messages."""
    return _run("sft", model, {"dataset_name": dataset, "eval_dataset_name": eval_dataset}, fields)


def reward(model: Model, comparisons: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """A reward model from comparisons, or from rankings (prompt, completions, ranks)."""
    return _run("reward", model, _pairs(comparisons, eval_dataset), fields)


def process_reward(
    model: Model, dataset: Data, *, eval_dataset: Data = None, **fields: Any
) -> Trained:
    """A reward model of steps: rows with prompt, completions (the steps) and labels."""
    data = {"dataset_name": dataset, "eval_dataset_name": eval_dataset}
    return _run("process_reward", model, data, fields)


def classifier(model: Model, dataset: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """A classifier of texts: rows with text, or prompt and completion, and a label."""
    data = {"dataset_name": dataset, "eval_dataset_name": eval_dataset}
    return _run("classifier", model, data, fields)


def dpo(model: Model, comparisons: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """Learn from comparisons directly; `loss_type` names the other losses."""
    return _run("dpo", model, _pairs(comparisons, eval_dataset), fields)


def simpo(model: Model, comparisons: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """Learn from comparisons by mean log-probs, without a reference."""
    return _run("simpo", model, _pairs(comparisons, eval_dataset), fields)


def orpo(model: Model, comparisons: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """Imitate and prefer in one stage, without a reference."""
    return _run("orpo", model, _pairs(comparisons, eval_dataset), fields)


def kto(model: Model, dataset: Data, *, eval_dataset: Data = None, **fields: Any) -> Trained:
    """Learn from rows with prompt, completion and label."""
    return _run("kto", model, {"dataset_name": dataset, "eval_dataset_name": eval_dataset}, fields)


def ppo(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    eval_dataset: Data = None,
    **fields: Any,
) -> Trained:
    """PPO against functions with TRL's signature, a reward model (or a list of them), or both."""
    return _online("ppo", model, prompts, reward_funcs, reward_model, eval_dataset, fields)


def grpo(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    eval_dataset: Data = None,
    **fields: Any,
) -> Trained:
    """GRPO and its corrections, against what `ppo` takes."""
    return _online("grpo", model, prompts, reward_funcs, reward_model, eval_dataset, fields)


def rloo(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    eval_dataset: Data = None,
    **fields: Any,
) -> Trained:
    """RLOO, against what `ppo` takes."""
    return _online("rloo", model, prompts, reward_funcs, reward_model, eval_dataset, fields)


def reinforce(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    eval_dataset: Data = None,
    **fields: Any,
) -> Trained:
    """REINFORCE++, against what `ppo` takes."""
    return _online("reinforce", model, prompts, reward_funcs, reward_model, eval_dataset, fields)


def online_dpo(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    eval_dataset: Data = None,
    **fields: Any,
) -> Trained:
    """DPO on fresh responses, against what `ppo` takes."""
    return _online("online_dpo", model, prompts, reward_funcs, reward_model, eval_dataset, fields)


def best_of_n(
    model: Model,
    prompts: Data,
    *,
    reward_funcs: Sequence[RewardFunction] = (),
    reward_model: Model = None,
    **fields: Any,
) -> Trained:
    """The best of n responses; `sft(model, found.path / "demonstrations.jsonl")` imitates them."""
    return _online("best_of_n", model, prompts, reward_funcs, reward_model, None, fields)


def _pairs(comparisons: Data, eval_dataset: Data) -> dict[str, Data]:
    return {"comparisons": comparisons, "eval_comparisons": eval_dataset}


def _online(
    stage: str,
    model: Model,
    prompts: Data,
    reward_funcs: Sequence[RewardFunction],
    reward_model: Model,
    eval_dataset: Data,
    fields: dict[str, Any],
) -> Trained:
    names: list[str] = []
    for function in reward_funcs:
        names.append(function if isinstance(function, str) else register(function, taken=names))
    if names:
        fields = {"reward_funcs": names, **fields}
    data = {"prompts": prompts, "eval_prompts": eval_dataset}
    return _run(stage, model, data, fields, models={"reward_model_name_or_path": reward_model})


def _run(
    stage: str,
    model: Model,
    data: Mapping[str, Data],
    fields: dict[str, Any],
    *,
    models: Mapping[str, Model] | None = None,
) -> Trained:
    """Write what is not on disk, run the stage, and hand back what it left."""
    fields = dict(fields)
    tokenizer = fields.pop("processing_class", None)
    output_dir = fields.pop("output_dir", None)
    force = fields.pop("force", False)
    repo_id, private = fields.pop("push_to_hub", None), fields.pop("hub_private", False)
    if repo_id:
        check_push(stage, repo_id)
    temporary = None if output_dir else tempfile.mkdtemp(prefix=f"accord-{stage}-")
    path = Path(output_dir) if output_dir else Path(str(temporary)) / "run"
    beside = path.with_name(f"{path.name}-inputs")
    values = {"model_name_or_path": _model(model, tokenizer, beside / "model"), **fields}
    for name, given in (models or {}).items():
        if given is not None:
            several = given if isinstance(given, list | tuple) else [given]
            folder = beside / name
            values[name] = [_model(m, tokenizer, folder / str(n)) for n, m in enumerate(several)]
    for name, given in data.items():
        if given is not None:
            values[name] = _data(given, beside, name)
    config: StageConfig = stage_config(stage).parse(values, where=f"accord.{stage}")
    outcome = execute(stage, config, path, force=force)
    if repo_id:
        push_model(outcome.path, repo_id, private=private)
    return Trained(outcome.path, outcome.result, temporary)


def _model(model: Model, tokenizer: Any, folder: Path) -> str:
    if isinstance(model, Trained):
        return str(model.model_path)
    if isinstance(model, str | Path):
        return str(model)
    if tokenizer is None:
        raise ConfigError(
            f"a {type(model).__name__} comes without its tokenizer; give processing_class, or the "
            "model's directory or hub name"
        )
    save_model(model, tokenizer, folder)
    return str(folder)


def _data(data: Data, folder: Path, name: str) -> str:
    if isinstance(data, str | Path):
        return str(data)
    rows = [_row(row, name, number) for number, row in enumerate(data, start=1)]
    folder.mkdir(parents=True, exist_ok=True)
    # The name tells contents apart, so that other rows are another input.
    file = folder / f"{name}-{hash_json(rows)[:12]}.jsonl"
    write_jsonl(file, rows)
    return str(file)


def _row(row: Any, name: str, number: int) -> dict[str, Any]:
    """A row's columns; a text, or a conversation, is a prompt where prompts are asked for."""
    if isinstance(row, Mapping):
        return dict(row)
    if name in ("prompts", "eval_prompts") and isinstance(row, str | list | tuple):
        return {"prompt": row}
    raise DataError(f"{name}, row {number}: expected a mapping of columns, got {row!r:.80}")
