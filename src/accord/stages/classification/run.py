"""The classifier: a head of labels on a trunk, fit, calibrated, and saved with its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from accord.annotation.calibration import fit_temperature
from accord.annotation.classification import fit_class_temperature, macro_f1
from accord.core import processes
from accord.core.device import default_device, seed_everything
from accord.core.errors import DataError
from accord.core.run_dir import RunDir
from accord.core.types import Message
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.corpora.labelled import LabelledText, encode_labelled, label_names, load_labelled
from accord.corpora.pairs import split_by_prompt
from accord.models.classifiers import ClassifierFormat, load_labelled_classifier
from accord.models.heads import (
    head_readings,
    init_reward_model,
    response_features,
    save_scored_model,
    score_head,
)
from accord.models.loading import load_tokenizer, within_context
from accord.models.lora import adapted
from accord.models.sharding import whole
from accord.objectives.classification import label_loss
from accord.stages.classification.config import Config
from accord.stages.classification.figures import (
    class_weights,
    figures,
    quality,
    tfidf_probabilities,
)
from accord.training.batches import collate, micro_batches
from accord.training.fitting import fit_to_minimum


@dataclass(frozen=True)
class Result:
    """What the stage leaves; the figures are over held-out rows.

    `measured_on` tells which rows these are: "test" rows that nothing was chosen by, or the
    "validation" rows whose loss picked the weights and the temperatures. `accuracy` is over rows
    where labels exclude each other, else over all labels; `macro_f1` and `auroc` are means over
    labels. `by_label` has each one's area and the share of negatives that are called positive where
    95% of the positives are found; `subgroups` the areas by term. `balanced` is of classes that
    exclude each other, where rare ones are named more readily, as suits macro F1. `tfidf` has
    accuracy, macro F1 and AUROC of logistic regression on words, from the same rows.
    """

    model: Path
    measured_on: Literal["test", "validation"]
    labels: tuple[str, ...]
    accuracy: float
    macro_f1: float
    auroc: float
    by_label: dict[str, dict[str, float]]
    balanced: dict[str, float] | None
    subgroups: dict[str, dict[str, dict[str, float]]]
    calibration: dict[str, Any]
    tfidf: dict[str, float]
    heldout_loss: float
    heldout_rows: int
    rows: int
    cut_rows: int
    steps: int


@dataclass(frozen=True)
class Labelled:
    """Encoded texts and their labels, (N, K)."""

    encoded: list[Encoded]
    targets: Tensor

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each."""
        return [len(row) for row in self.encoded]


def run(config: Config, run_dir: RunDir) -> Result:
    """Train a classifier and save it, reloaded and rescored, under `model/`."""
    seed_everything(config.seed)
    tokenizer = load_tokenizer(config.model_name_or_path)
    encoder = ChatEncoder(tokenizer)
    everything, *sides = _read(config)
    names = label_names(everything)
    form = ClassifierFormat(
        labels=names, exclusive=everything[0].is_class, temperatures=(1.0,) * len(names)
    )
    fresh = init_reward_model(
        config.model_name_or_path,
        device=default_device(),
        seed=config.seed,
        outputs=len(names),
        load_in_4bit=config.load_in_4bit,
    )
    form.name_labels(fresh.config)
    longest = within_context(config.max_length, fresh.config)
    train, validation, test = (_encode(rows, form, encoder, longest) for rows in sides)
    model, steps = _fit(adapted(fresh, config), train, validation, form, encoder, config, run_dir)
    chosen_by, logits = (_all_logits(model, side, encoder, config) for side in (validation, test))
    form = _calibrated(form, chosen_by, validation.targets)
    balance, form = _weighted(form, chosen_by, validation.targets)
    save_scored_model(
        model,
        tokenizer,
        run_dir.model_path,
        sample=collate(test.encoded[:8], pad_id=encoder.pad_id, device=default_device()),
        beside=form.save,
        load=load_labelled_classifier,
    )
    train_texts, _, test_texts = ([row.text for row in rows] for rows in sides)
    seen, wanted = (side.targets.double().numpy() for side in (train, test))
    plain = tfidf_probabilities(train_texts, seen, test_texts, exclusive=form.exclusive)
    return Result(
        model=run_dir.model_path,
        measured_on="test" if config.test_dataset_name else "validation",
        labels=names,
        balanced=_balanced(form, balance, logits, test.targets) if form.exclusive else None,
        **figures(logits, wanted, form, test_texts, config.subgroup_terms),
        tfidf=quality(plain, wanted, exclusive=form.exclusive),
        heldout_loss=label_loss(logits, test.targets, exclusive=form.exclusive).loss.item(),
        heldout_rows=len(test.encoded),
        rows=len(train.encoded),
        cut_rows=sum(row.cut > 0 for row in train.encoded + test.encoded),
        steps=steps,
    )


def _fit(
    model: nn.Module,
    train: Labelled,
    validation: Labelled,
    form: ClassifierFormat,
    encoder: ChatEncoder,
    config: Config,
    run_dir: RunDir,
) -> tuple[nn.Module, int]:
    """The model at its lowest validation loss, and the steps taken; resumes."""
    _, steps = fit_to_minimum(
        model,
        config,
        run_dir,
        name="classifier",
        lengths=train.lengths,
        learn=lambda rows: _measure(model, train, rows, form, encoder, config),
        validate=lambda: _measure(
            model, validation, range(len(validation.encoded)), form, encoder, config
        ),
        shown=("loss", "accuracy"),
    )
    return whole(model), steps


def _read(config: Config) -> list[list[LabelledText]]:
    """All rows, and those that train, that pick the moment, and that are reported."""
    references = [config.eval_dataset_name, config.test_dataset_name]
    rows = load_labelled(config.dataset_name)
    others = [load_labelled([name]) if name else [] for name in references]
    # Read together, so that rows of different kinds are refused wherever they are.
    everything = load_labelled([*config.dataset_name, *filter(None, references)])
    train, validation, test = rows, *others
    if not validation:
        # By text: the same words must not train and test.
        texts = [(*r.prompt, Message(role="assistant", content=r.text)) for r in rows]
        sides = split_by_prompt(texts, fraction=config.eval_fraction, seed=config.seed)
        train, validation = ([rows[i] for i in side] for side in sides)
    if not train or not validation:
        raise DataError(f"{len(rows)} rows are too few to hold some out")
    return [everything, train, validation, test or validation]


def _encode(
    rows: Sequence[LabelledText], form: ClassifierFormat, encoder: ChatEncoder, longest: int
) -> Labelled:
    encoded = [encode_labelled(r.prompt, r.text, encoder, max_length=longest) for r in rows]
    targets = [[row.labels.get(name, 0.0) for name in form.labels] for row in rows]
    return Labelled(encoded, torch.tensor(targets))


def _measure(
    model: nn.Module,
    data: Labelled,
    rows: Sequence[int],
    form: ClassifierFormat,
    encoder: ChatEncoder,
    config: Config,
) -> dict[str, float]:
    """Means over `rows`; with gradients enabled, those of the loss too."""
    totals = {"loss": 0.0, "accuracy": 0.0}
    for piece in micro_batches(rows, data.lengths, token_budget=config.tokens_per_micro_batch):
        logits = _logits(model, data, piece, encoder, config)
        targets = data.targets[piece].to(logits.device)
        out = label_loss(logits, targets, exclusive=form.exclusive, denominator=float(len(rows)))
        if out.loss.requires_grad:
            out.loss.backward()  # type: ignore[no-untyped-call]
        totals["loss"] += out.loss.item()
        totals["accuracy"] += out.accuracy.item() * len(piece) / len(rows)
    return processes.summed(totals)


def _logits(
    model: nn.Module, data: Labelled, rows: Sequence[int], encoder: ChatEncoder, config: Config
) -> Tensor:
    """(n, K) of some rows."""
    device = default_device()
    batch = collate([data.encoded[i] for i in rows], pad_id=encoder.pad_id, device=device)
    with torch.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=config.bf16):
        features = response_features(model, batch.input_ids, batch.attention_mask)
    return head_readings(score_head(model), features)


@torch.no_grad()
def _all_logits(model: nn.Module, data: Labelled, encoder: ChatEncoder, config: Config) -> Tensor:
    """(N, K) of all rows, in order, on the CPU."""
    found = torch.zeros(data.targets.shape)
    everything, budget = range(len(data.encoded)), config.tokens_per_micro_batch
    for piece in micro_batches(everything, data.lengths, token_budget=budget):
        found[piece] = _logits(model, data, piece, encoder, config).cpu()
    return processes.summed_tensor(found)


def _weighted(
    form: ClassifierFormat, logits: Tensor, targets: Tensor
) -> tuple[float, ClassifierFormat]:
    """The balance of rare classes that the validation rows ask for, and the form with it."""
    if not form.exclusive:
        return 0.0, form
    given = form.probabilities(logits.double()).numpy()
    balance, weights = class_weights(given, targets.double().numpy())
    return balance, form.model_copy(update={"weights": tuple(weights.tolist())})


def _balanced(
    form: ClassifierFormat, balance: float, logits: Tensor, targets: Tensor
) -> dict[str, float]:
    """How good the classes are that the form names."""
    said, truth = form.named(logits.double()).numpy(), targets.argmax(-1).numpy()
    return {
        "balance": balance,
        "accuracy": float((said == truth).mean()),
        "macro_f1": macro_f1(said, truth, classes=len(form.labels)),
    }


def _calibrated(form: ClassifierFormat, logits: Tensor, targets: Tensor) -> ClassifierFormat:
    """The form with the temperatures that the validation rows ask for."""
    given, wanted = logits.double().numpy(), targets.double().numpy()
    if form.exclusive:
        temperatures = [fit_class_temperature(given, wanted)] * len(form.labels)
    else:
        columns = zip(given.T, wanted.T, strict=True)
        temperatures = [fit_temperature(z, y) for z, y in columns]
    return form.model_copy(update={"temperatures": tuple(temperatures)})
