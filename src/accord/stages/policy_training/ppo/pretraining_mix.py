"""PPO-ptx: the likelihood of demonstrations is kept up while the policy learns from its reward.

Without it a policy forgets what the reward does not ask for (the alignment tax).

Source: Ouyang et al. 2022, arXiv:2203.02155, eq. 2, the term with gamma.
"""

from accord.core import processes
from accord.core.errors import ConfigError, DataError
from accord.corpora.demonstrations import encode_demonstration, load_demonstrations
from accord.objectives.cross_entropy import token_cross_entropy
from accord.stages.policy_training.policy import Policy
from accord.stages.policy_training.ppo.config import Config
from accord.training.batches import collate_demonstrations, micro_batches, rows_at


class PretrainingMix:
    """Demonstrations, and the gradient of their cross-entropy."""

    def __init__(self, policy: Policy, config: Config) -> None:
        """Read and encode them.

        Raises:
            ConfigError: there are demonstrations without a weight.
            DataError: a row cannot be used, or there is none.
        """
        if not config.ptx_coef:
            raise ConfigError("ptx_dataset_name without ptx_coef would change nothing; give both")
        sources = [row for name in config.ptx_dataset_name for row in load_demonstrations(name)]
        if not sources:
            raise DataError(f"{', '.join(config.ptx_dataset_name)}: no demonstrations")
        self._rows = [
            encode_demonstration(row, policy.encoder, max_length=config.max_length)
            for row in sources
        ]
        self._policy = policy
        self._config = config

    def learn(self, step: int) -> float:
        """Add the gradient of ptx_coef times the mean nats a target token; gives that mean.

        Which demonstrations a step reads is a function of the step, so a resumed run finds them.
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
            logprobs = policy.logprobs(batch).logprobs
            loss = token_cross_entropy(logprobs, batch.target_mask, denominator=tokens).loss
            (config.ptx_coef * loss).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return processes.summed({"loss": total})["loss"]
