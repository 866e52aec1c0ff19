"""vLLM in this process, as an `Engine`: its scheduler and kernels, our tokens and weights.

vLLM is an extra (`pip install 'accord[vllm]'`, or a build of it for the processor at hand) and is
imported when the first engine is built. It is driven a step at a time, so it is cooperative as the
local sampler is (see `requests`). It keeps a copy of the policy's weights in its own layout:
`load_weights` has to follow every optimizer step.
"""

import math
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from accord.core import device
from accord.core.controls import Controls
from accord.core.errors import ConfigError, DataError, ModelError
from accord.core.types import GeneratedToken, GenerationRequest
from accord.corpora.encoding import ChatEncoder
from accord.engine.requests import CooperativeGeneration, refuse_unfit
from accord.engine.weights import take_weights
from accord.models.loading import context_length
from accord.models.logprobs import bare_model
from accord.models.lora import merged

LOWEST_TEMPERATURE = 0.01
"""Below it vLLM silently samples at this temperature."""

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    # Its threads are the trainer's: bound to cores, they would bind the trainer.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class VllmEngine:
    """An `Engine` that samples with vLLM from a copy of the policy's weights.

    Equal seeds give equal responses, but other ones than the local sampler's; greedy responses are
    the same. Log-probs are float32 at the sampling temperature (at 1 for temperature 0); they come
    from vLLM's kernels, so they differ from the trainer's by the rounding of its precision. Under
    controls they are of what the controls leave; with `logprobs_mode="raw_logprobs"` they are of
    the model's own distribution, at temperature 1, whatever is sampled from.

    Args:
        policy: a causal LM of a family that vLLM knows, bare or under peft.
        tokenizer: its tokenizer, or a `ChatEncoder` over it.
        max_batch_size: rows that run together, at least 1.
        cache_bytes: memory for keys and values, which is taken at once.
        options: further arguments of vLLM's `EngineArgs`.

    Raises:
        ConfigError: vLLM is not installed, or has an engine in this process already, or several
            processes train; or a row as long as the model's context does not fit into the memory.
    """

    def __init__(
        self,
        policy: nn.Module,
        tokenizer: Any,
        *,
        max_batch_size: int = 128,
        cache_bytes: int = 2**30,
        **options: Any,
    ) -> None:
        if max_batch_size < 1:
            raise ValueError(f"max_batch_size must be at least 1, got {max_batch_size}")
        encoder = tokenizer if isinstance(tokenizer, ChatEncoder) else ChatEncoder(tokenizer)
        self.policy = policy
        self._end_of_turn_id = encoder.end_of_turn_id
        self._version = 0
        self._submitted = 0
        self._running: dict[str, CooperativeGeneration] = {}
        self._is_closed = False
        options = {
            "max_num_seqs": max_batch_size,
            "kv_cache_memory_bytes": cache_bytes,
            "logprobs_mode": "processed_logprobs",
            **options,
        }
        self._engine = _build(policy, options)
        self._shut_down = weakref.finalize(self, self._engine.engine_core.shutdown)
        _OPEN.add(self)
        self._push_weights()

    def submit(self, requests: Sequence[GenerationRequest]) -> list[CooperativeGeneration]:
        """Queue requests.

        Raises:
            DataError: a request is refused as `LocalEngine` would, or its temperature is above 0
                and below LOWEST_TEMPERATURE. Nothing was queued then.
            RuntimeError: the engine is closed.
        """
        if self._is_closed:
            raise RuntimeError("this engine is closed; build a new one")
        base: Any = bare_model(self.policy)
        vocabulary = base.get_input_embeddings().weight.shape[0]
        refuse_unfit(requests, context=context_length(base.config), vocabulary=vocabulary)
        for index, request in enumerate(requests):
            if request.controls is not None and request.controls.token_filter is not None:
                raise DataError(f"request {index}: engine vllm knows no token_filter; use local")
            if 0 < request.params.temperature < LOWEST_TEMPERATURE:
                raise DataError(
                    f"request {index}: temperature {request.params.temperature} is below what vLLM "
                    f"samples at; expected 0 or at least {LOWEST_TEMPERATURE}"
                )
        return [self._add(request) for request in requests]

    def load_weights(self, weights: Mapping[str, Tensor], *, version: int) -> None:
        """Take weights into the policy and into vLLM, and stamp `version` on tokens from now on.

        Rows that are running keep the keys and values that older weights made; prompts that are
        submitted later never share them.

        Raises:
            ModelError: names or shapes are not the policy's; its weights are as before.
        """
        take_weights(self.policy, weights)
        self._push_weights()
        self._version = version

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._is_closed

    def close(self) -> None:
        """Cancel what is queued or running, free the cache, and take no more requests."""
        if self._is_closed:
            return
        self._is_closed = True
        for generation in self._running.values():
            generation.cancel()
        self._running = {}
        self._shut_down()
        self._engine = None
        _OPEN.discard(self)

    def _push_weights(self) -> None:
        """Give vLLM the policy's weights, with what adapters add; it lays them out anew."""
        weights = [(name, t.detach()) for name, t in merged(self.policy).state_dict().items()]
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})

    def _add(self, request: GenerationRequest) -> CooperativeGeneration:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        controls = request.controls or Controls()
        params = SamplingParams(
            temperature=request.params.temperature,
            max_tokens=request.params.max_new_tokens,
            seed=request.seed % 2**63,  # it keeps seeds in a signed integer
            logprobs=controls.top_logprobs,  # beside the sampled token's
            top_p=controls.top_p,
            top_k=controls.top_k,
            min_p=controls.min_p,
            presence_penalty=controls.presence_penalty,
            frequency_penalty=controls.frequency_penalty,
            repetition_penalty=controls.repetition_penalty,
            logit_bias=dict(controls.logit_bias) or None,
            stop_token_ids=[self._end_of_turn_id],
            ignore_eos=True,  # the end of turn is the one end, whatever the model's files say
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        generation = CooperativeGeneration(request, self._run_until)
        name = str(self._submitted)
        self._submitted += 1
        # Keys and values of shared prompts are reused under equal salts only: not across weights.
        prompt = {"prompt_token_ids": list(request.prompt_ids), "cache_salt": str(self._version)}
        self._engine.add_request(name, prompt, params)
        self._running[name] = generation
        return generation

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        try:
            while not is_done():
                self._advance()
        except BaseException:
            self.close()  # what a broken step left in vLLM is unknown: nothing can go on from it
            raise

    def _advance(self) -> None:
        """One token for every running row."""
        self._drop_cancelled()
        for output in self._engine.step():
            self._take(self._running[output.request_id], output.outputs[0])
            if output.finished:
                del self._running[output.request_id]

    def _drop_cancelled(self) -> None:
        cancelled = [name for name, g in self._running.items() if g.finish == "cancelled"]
        if cancelled:
            self._engine.abort_request(cancelled)
        for name in cancelled:
            del self._running[name]

    def _take(self, generation: CooperativeGeneration, output: Any) -> None:
        for token, logprobs in zip(output.token_ids, output.logprobs, strict=True):
            logprob = logprobs[token].logprob
            if not -float("inf") < logprob <= 0:
                raise ModelError(
                    f"vLLM sampled token {token} with log-prob {logprob}; expected weights without "
                    f"NaN or infinity (weights of version {self._version})"
                )
            controls = generation.request.controls
            asked = controls.top_logprobs if controls else 0
            best = sorted(logprobs.items(), key=lambda item: item[1].rank)[:asked]
            # What the controls cut off has no chance, and no number that JSON could hold.
            top = tuple((int(i), float(f.logprob)) for i, f in best if math.isfinite(f.logprob))
            taken = GeneratedToken(int(token), float(logprob), self._version, top)
            generation.take(taken, end_of_turn_id=self._end_of_turn_id)


_OPEN: weakref.WeakSet[VllmEngine] = weakref.WeakSet()


def _build(policy: nn.Module, options: dict[str, Any]) -> Any:
    """A vLLM engine of the policy's shape, whose weights are yet to come."""
    if _OPEN:
        raise ConfigError("vLLM runs one engine in a process; close the one that is open first")
    if torch.distributed.is_initialized():
        raise ConfigError(
            "engine vllm works beside one training process, and accelerate started several; use "
            "engine local"
        )
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # In this process, or weights would have to be sent to another one.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    try:
        from vllm import EngineArgs
        from vllm.distributed import cleanup_dist_env_and_memory
        from vllm.v1.engine.llm_engine import LLMEngine
    except ImportError as error:
        raise ConfigError(
            f"engine vllm needs vLLM, which cannot be imported ({error}); install it "
            "(pip install 'accord[vllm]'), or use engine local"
        ) from error
    base: Any = bare_model(policy)
    random_state = device.random_state()  # vLLM seeds the whole process
    with tempfile.TemporaryDirectory() as folder:
        base.config.save_pretrained(folder)
        arguments = EngineArgs(
            model=folder,
            load_format="dummy",
            skip_tokenizer_init=True,
            dtype=str(base.dtype).removeprefix("torch."),
            async_scheduling=False,  # a step's tokens are those of the weights that are loaded
            disable_log_stats=True,
            **options,
        )
        try:
            engine = LLMEngine.from_engine_args(arguments)
        except Exception as error:
            cleanup_dist_env_and_memory()  # what is left of it would have the next one refused
            if not isinstance(error, ValueError) or "cache" not in str(error):
                raise
            raise ConfigError(
                f"vLLM has too little memory for keys and values ({error}); give it more "
                "(accord serve --cache_mb), or a model with a shorter context"
            ) from error
    device.restore_random_state(random_state)
    return engine
