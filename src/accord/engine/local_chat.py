"""A model that is here, asked in conversations like an endpoint: the other `ChatClient`."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from accord.core.chat import ChatFailure, ChatReply
from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.core.files import hash_json, versioned
from accord.core.interfaces import Engine, EngineFactory
from accord.core.types import GenerationRequest, Message, SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import context_length, load_policy, load_tokenizer


class LocalChat:
    """A `ChatClient` over an engine, in batches; the model is loaded when it is first asked.

    Attributes:
        counts: conversations that were "answered", and those of which the start was "cut" to fit
            the model's context.
    """

    def __init__(self, model: str, engine_factory: EngineFactory) -> None:
        """Take a policy's directory or hub name, and what samples from it."""
        self.model = model
        self.counts: Counter[str] = Counter()
        self._engine_factory = engine_factory

    @cached_property
    def name(self) -> str:
        """The model, with a hash of its files: what another model said is not its own."""
        return versioned(self.model)

    @cached_property
    def _loaded(self) -> tuple[ChatEncoder, Engine, int | None]:
        tokenizer = load_tokenizer(self.model)
        policy = load_policy(self.model, device=default_device())
        engine = self._engine_factory(policy, tokenizer)
        return ChatEncoder(tokenizer), engine, context_length(policy.config)

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
        top_logprobs: int = 0,  # noqa: ARG002 (a local judge reads log-probs without sampling)
        seed: int = 0,
    ) -> list[ChatReply | ChatFailure]:
        """One answer a conversation, the same whatever is asked beside it.

        Raises:
            ConfigError: the model's context has no room for an answer.
        """
        if not conversations:
            return []
        encoder, engine, context = self._loaded
        room = None if context is None else context - max_tokens
        if room is not None and room < 1:
            raise ConfigError(
                f"{self.model}: its context of {context} tokens has no room for an answer of "
                f"{max_tokens}; ask for less"
            )
        requests = []
        for conversation in conversations:
            ids = encoder.encode_prompt(conversation)
            if room is not None and len(ids) > room:
                self.counts["cut"] += 1
                ids = ids[-room:]
            # Of the conversation alone: an answer that is asked for again, in whatever company,
            # is the same.
            own = int(hash_json([seed, list(conversation)])[:15], 16)
            requests.append(GenerationRequest(ids, SamplingParams(max_tokens, temperature), own))
        replies: list[ChatReply | ChatFailure] = []
        for generation in engine.submit(requests):
            result = generation.result()
            text = encoder.decode(result.response_ids)
            replies.append(ChatReply(text, "stop" if result.finish == "stop" else "length"))
        self.counts["answered"] += len(replies)
        return replies
