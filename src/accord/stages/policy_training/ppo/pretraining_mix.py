"""PPO-ptx: the likelihood of given text is kept up while the policy learns from its reward.

Without it a policy forgets what the reward does not ask for (the alignment tax).

Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2, the term with gamma.
"""

from typing import Any

from accord.core import processes
from accord.core.errors import ConfigError, DataError
from accord.corpora.demonstrations import EncodedDemonstration, encode_demonstration, to_source
from accord.corpora.encoding import ChatEncoder
from accord.corpora.readers import read_rows
from accord.models.logprobs import token_logprobs
from accord.objectives.cross_entropy import token_cross_entropy
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.ppo.config import Config
from accord.training.batches import collate_demonstrations, micro_batches, rows_at


def configured_mix(policy: Policy, config: Config) -> "PretrainingMix | None":
    """The mix that a config's fields name, if they name one.

    Raises:
        ConfigError: there is text without a weight, or a weight without text.
        DataError: a row cannot be used, or there is none.
    """
    if bool(config.ptx_dataset_name) != bool(config.ptx_coef):
        raise ConfigError(
            f"ptx_dataset_name {config.ptx_dataset_name} with ptx_coef {config.ptx_coef:g} changes "
            "nothing; give both or neither"
        )
    return PretrainingMix(policy, config) if config.ptx_dataset_name else None


class PretrainingMix:
    """Demonstrations or plain text, and the gradient of their cross-entropy."""

    def __init__(self, policy: Policy, config: Config) -> None:
        """Read and encode all rows.

        Raises:
            DataError: a row cannot be used, or there is none.
        """
        self._rows = [
            _encoded(row, f"{name}, row {number}", policy.encoder, config.max_length)
            for name in config.ptx_dataset_name
            for number, row in enumerate(read_rows(name), start=1)
        ]
        if not self._rows:
            raise DataError(f"{', '.join(config.ptx_dataset_name)}: no rows")
        self._policy = policy
        self._config = config

    def learn(self, step: int) -> float:
        """Add the gradient of ptx_coef times the mean nats a target token; gives that mean.

        The mean is over the targets of the step's whole batch, at temperature 1. Which rows a step
        reads is a function of the step, so a resumed run finds them.
        """
        config, policy = self._config, self._policy
        chosen = rows_at(len(self._rows), step, size=config.mini_batch_size, seed=config.seed + 7)
        rows = [self._rows[i] for i in chosen]
        tokens = float(sum(row.targets for row in rows))
        lengths = [len(row.input_ids) for row in rows]
        total = 0.0
        for piece in micro_batches(
            range(len(rows)), lengths, token_budget=config.tokens_per_micro_batch
        ):
            batch = collate_demonstrations(
                [rows[i] for i in piece], pad_id=policy.encoder.pad_id, device=policy.device
            )
            with policy.autocast():
                logprobs = token_logprobs(policy.module, *batch).logprobs
            loss = token_cross_entropy(logprobs, batch.target_mask, denominator=tokens).loss
            (config.ptx_coef * loss).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return processes.summed({"loss": total})["loss"]


def _encoded(
    row: dict[str, Any], where: str, encoder: ChatEncoder, max_length: int
) -> EncodedDemonstration:
    """A demonstration, or plain text, of which every token but the first is a target."""
    is_text = isinstance(row.get("text"), str) and not {"prompt", "messages", "chosen"} & set(row)
    if not is_text:
        return encode_demonstration(to_source(row, where), encoder, max_length=max_length)
    ids = (*encoder.encode_text(row["text"]), encoder.end_of_turn_id)
    if len(ids) < 2:
        raise DataError(f"{where}: the text is empty; leave the row out")
    kept = ids[:max_length]  # a document is read from its start
    mask = (False, *(True for _ in kept[1:]))
    return EncodedDemonstration(kept, mask, cut=len(ids) - len(kept))
