"""`model/README.md`: what a model was made of, in the form that the Hugging Face hub reads.

A card holds no path, no time and no name of a machine: equal inputs give equal bytes, so a stage
that is run again leaves a directory of the same hash, and a card can be shown to anybody.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from accord.core.assets import ASSETS
from accord.core.config import StageConfig
from accord.core.files import write_text
from accord.core.run_dir import RunDir

CARD = "README.md"
_ALWAYS_SHOWN = ("learning_rate", "per_device_train_batch_size", "max_length", "seed")
_CLASSIFIER = "ForSequenceClassification"


def write_model_card(
    run_dir: RunDir, manifest: Mapping[str, Any], config: StageConfig, result: Mapping[str, Any]
) -> None:
    """Put a card into the `model/` of a finished stage; a stage that leaves no model has none.

    Args:
        manifest: what `core.manifest.new_manifest` gave.
        result: as in `result.json`.

    Raises:
        StorageError: the disk refused.
    """
    if (run_dir.model_path / "config.json").is_file():
        text = model_card(run_dir.model_path, manifest, config, result)
        write_text(run_dir.model_path / CARD, text)


def model_card(
    model_path: Path, manifest: Mapping[str, Any], config: StageConfig, result: Mapping[str, Any]
) -> str:
    """The card's text; arguments as for `write_model_card`, and the model's directory."""
    architectures = json.loads((model_path / "config.json").read_text("utf-8")).get("architectures")
    is_scorer = any(name.endswith(_CLASSIFIER) for name in architectures or [])
    front = yaml.safe_dump(
        _front_matter(manifest, config, is_scorer=is_scorer), sort_keys=False, allow_unicode=True
    )
    sections = [
        f"# A {'reward model' if is_scorer else 'language model'} made by `{manifest['stage']}`",
        f"Trained with Accord, stage `{manifest['stage']}`. " + _origin(manifest, config),
        "## Use\n\n" + (_SCORER_USE if is_scorer else _POLICY_USE),
        "## Limits\n\n" + (_SCORER_LIMITS if is_scorer else _POLICY_LIMITS),
        "## Figures\n\n" + _table(("figure", "value"), _figures(result)),
        "## Settings\n\n" + _table(("field", "value"), _settings(config)),
        "## Inputs\n\n"
        + _table(("field", "name", "SHA-256"), _input_rows(manifest))
        + "\n\nHashes are of contents; what comes from a hub by name is not pinned and has none.",
        "## Versions\n\n" + _table(("package", "version"), manifest["versions"].items()),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


_POLICY_USE = """\
Load it with `AutoModelForCausalLM` and `AutoTokenizer`, and write prompts through the tokenizer's
chat template, which is what it was trained on."""

_SCORER_USE = """\
Load it with `AutoModelForSequenceClassification`: its one logit is the score of a whole
conversation that ends with a response. Scores of responses to the same prompt can be compared."""

_POLICY_LIMITS = """\
It has learned from the data and the preferences named below, errors and prejudice included, and was
measured on held-out parts of them alone. Test it on your own task, for harm too, before others meet
it."""

_SCORER_LIMITS = """\
It ranks as the annotators of its comparisons did, and was measured on held-out comparisons of the
same kind alone. Scores of different prompts, and scores far from any that it was trained on, mean
little; a policy that is optimised against it will find its errors."""


def _front_matter(
    manifest: Mapping[str, Any], config: StageConfig, *, is_scorer: bool
) -> dict[str, Any]:
    tags = ["accord", str(manifest["stage"])]
    if is_scorer:
        tags.append("reward-model")
    if getattr(config, "use_peft", False):
        tags.append("qlora" if getattr(config, "load_in_4bit", False) else "lora")
    front: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification" if is_scorer else "text-generation",
        "tags": tags,
    }
    base = _base_model(manifest)
    if base is not None:
        front = {"base_model": base, **front}
    datasets = sorted(
        {
            name.split("@")[0].split(":")[0]
            for field, name, digest in _inputs(manifest)
            if digest is None and "model" not in field
        }
    )
    return {**front, "datasets": datasets} if datasets else front


def _inputs(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """(field, value, hash) of every input."""
    for field, entries in manifest["inputs"].items():
        for entry in entries:
            yield field, str(entry["value"]), entry["sha256"]


def _base_model(manifest: Mapping[str, Any]) -> str | None:
    """The hub name that a model goes back to, over the cards of the local ones between; or None."""
    for field, name, digest in _inputs(manifest):
        if field == "model_name_or_path":
            return name if digest is None else read_front_matter(Path(name)).get("base_model")
    return None


def read_front_matter(model_path: Path) -> dict[str, Any]:
    """The YAML at the head of a directory's card; empty where there is none."""
    try:
        text = (model_path / CARD).read_text("utf-8")
        found = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return {}  # a card is for people: whatever it is, the model is usable
    return found if isinstance(found, dict) else {}


def _origin(manifest: Mapping[str, Any], config: StageConfig) -> str:
    name = getattr(config, "model_name_or_path", None)
    if name is None:
        return "It was trained from random weights."
    public = _public_name(name)
    if public is None:
        base = _base_model(manifest)
        goes_back = f", which goes back to `{base}`" if base else ""
        return f"It started from a local model (its hash is below){goes_back}."
    return f"It started from `{public}`."


def _public_name(value: str) -> str | None:
    """A hub name or the name of an asset, as it is; None for a path."""
    path = Path(value)
    if path.is_relative_to(ASSETS):
        return f"accord:{path.relative_to(ASSETS).as_posix()}"
    return None if path.exists() else value


def _input_rows(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for field, name, digest in _inputs(manifest):
        public = name if digest is None else _public_name(name)
        yield field, public or "(local)", digest or ""


def _settings(config: StageConfig) -> Iterator[tuple[str, Any]]:
    """What was chosen, and the few fields that everybody asks for; no inputs, no paths."""
    values = config.model_dump(mode="json")
    for name, field in type(config).model_fields.items():
        value = values[name]
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if name in config.input_fields() or (value == default and name not in _ALWAYS_SHOWN):
            continue
        yield name, "(not shown)" if _may_be_path(value) else value


def _may_be_path(value: Any) -> bool:
    """Whether a setting may name something on this machine: a file, or a module of code."""
    text = json.dumps(value)
    return "/" in text or "\\\\" in text


def _figures(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Numbers and words of a result; not its files."""
    for name, value in result.items():
        if isinstance(value, bool | int | float):
            yield name, f"{value:.6g}" if isinstance(value, float) else value


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    if not lines:
        return "None."
    rule = "|".join("---" for _ in head)
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {line} |" for line in lines)])
