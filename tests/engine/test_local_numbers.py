"""Numbers of the local sampler: log-probs, batching, greedy, frequencies, context."""

from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoTokenizer

from accord.core.errors import DataError
from accord.core.types import GenerationRequest, SamplingParams
from accord.corpora.encoding import Encoded
from accord.engine.generate import generate
from accord.engine.kernels import Kernels, NativeKernels, TorchKernels
from accord.engine.local import LocalEngine
from accord.models.loading import load_policy
from accord.models.logprobs import token_logprobs
from accord.training.batches import collate

CPU = torch.device("cpu")
DRAWS = [k for k in (TorchKernels(), NativeKernels.of(torch.float32)) if k is not None]
PROMPTS = [(5, 6, 7), (8,), tuple(range(10, 30)), (40, 41), (9, 9, 9, 9, 9), (3, 50)] * 3


def check_agreement(model_dir: Path, temperature: float, max_batch_size: int) -> None:
    policy = load_policy(str(model_dir), device=CPU)
    engine = LocalEngine(
        policy, AutoTokenizer.from_pretrained(model_dir), max_batch_size=max_batch_size
    )
    results = generate(engine, PROMPTS, SamplingParams(12, temperature), seed=3)
    batch = collate([Encoded(r.prompt_ids, r.response_ids) for r in results], pad_id=2, device=CPU)
    with torch.no_grad():
        trained = token_logprobs(policy, *batch, temperature=temperature).logprobs
    sampled = torch.zeros_like(trained)
    for row, result in enumerate(results):
        start = len(result.prompt_ids)
        sampled[row, start : start + len(result.tokens)] = torch.tensor(
            [token.logprob for token in result.tokens]
        )
    assert (sampled - trained).abs().max() < 1e-4


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("max_batch_size", [4, 64])
def test_sampler_and_trainer_agree(
    tiny_model_dir: Path, temperature: float, max_batch_size: int
) -> None:
    check_agreement(tiny_model_dir, temperature, max_batch_size)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_and_trainer_agree_on_a_trained_model(
    accord_data: Path, temperature: float
) -> None:
    check_agreement(accord_data.parent / "models" / "base-7m", temperature, 8)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padded_rows_are_as_if_alone(tiny_model_dir: Path, attention: str) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    policy.set_attn_implementation(attention)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    together, alone = (
        generate(
            LocalEngine(policy, tokenizer, max_batch_size=n), PROMPTS, SamplingParams(20), seed=4
        )
        for n in (7, 1)
    )
    for padded, bare in zip(together, alone, strict=True):
        assert padded.response_ids == bare.response_ids
        expected = [token.logprob for token in bare.tokens]
        assert [token.logprob for token in padded.tokens] == pytest.approx(expected, abs=1e-5)


def test_responses_do_not_depend_on_the_batch(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    params = SamplingParams(16, 1.0)
    ids = [
        [r.response_ids for r in generate(engine, PROMPTS, params, seed=1)]
        for engine in (LocalEngine(policy, tokenizer, max_batch_size=n) for n in (1, 5, 100))
    ]
    assert ids[0] == ids[1] == ids[2]
    assert ids[0][0] != ids[0][6]  # the same prompt elsewhere has another seed


def test_greedy_is_transformers_greedy(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    engine = LocalEngine(policy, tokenizer, max_batch_size=3)
    results = generate(engine, PROMPTS[:6], SamplingParams(10, 0.0), seed=0)
    for result in results:
        prompt = torch.tensor([result.prompt_ids])
        expected = policy.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=10,
            pad_token_id=3,
        )[0, prompt.shape[1] :]  # fmt: skip
        assert list(result.response_ids) == expected.tolist()


def test_greedy_reports_logprobs_at_temperature_one(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    engine = LocalEngine(policy, AutoTokenizer.from_pretrained(tiny_model_dir))
    (token,) = generate(engine, [(5, 6)], SamplingParams(1, 0.0), seed=0)[0].tokens
    with torch.no_grad():
        expected = torch.log_softmax(policy(torch.tensor([[5, 6]])).logits[0, -1], -1).max()
    assert token.logprob == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("uniform", "temperature", "token", "probability"),
    [
        (0.0, 1.0, 1, 0.5),  # token 0 has no probability: not even 0 draws it
        (0.49, 1.0, 1, 0.5),
        (0.51, 1.0, 2, 0.3),
        (0.81, 1.0, 3, 0.2),
        (1 - 2**-53, 1.0, 3, 0.2),  # nor does the largest uniform draw token 4
        (0.64, 0.5, 1, 25 / 38),  # squares: 25, 9, 4 of 38
        (0.67, 0.5, 2, 9 / 38),
        (0.99, 0.0, 1, 0.5),  # the likeliest, reported at temperature 1
    ],
)
@pytest.mark.parametrize("kernels", DRAWS)
def test_draw_by_hand(
    kernels: Kernels, uniform: float, temperature: float, token: int, probability: float
) -> None:
    logits = torch.tensor([[0.0, 0.5, 0.3, 0.2, 0.0]]).log() + 3
    tokens, logprobs = kernels.draw(
        logits, torch.tensor([temperature]), torch.tensor([uniform], dtype=torch.float64)
    )
    assert tokens.tolist() == [token]
    assert logprobs.exp().item() == pytest.approx(probability, abs=1e-6)


@pytest.mark.skipif(len(DRAWS) == 1, reason="needs a C++ compiler")
def test_the_native_draw_is_the_other() -> None:
    """But for draws within rounding of a border; with tokens that cannot be, and rare ones."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2000, 1111, generator=generator)
    logits[:, 100:400] = float("-inf")
    logits[:500, 1111 - 87 :] = float("-inf")  # the last block holds nothing
    logits[7, 3], logits[9, 1000] = float("nan"), float("inf")
    temperatures = torch.rand(2000, generator=generator) + 0.5
    temperatures[::5] = 0
    uniforms = torch.rand(2000, generator=generator, dtype=torch.float64)
    uniforms[1::7], uniforms[2::7] = 0.0, 1 - 2**-53
    (tokens, logprobs), (expected, logprobs_expected) = (
        kernels.draw(logits, temperatures, uniforms) for kernels in DRAWS
    )
    assert (tokens != expected).float().mean() < 2e-3
    same = tokens == expected
    torch.testing.assert_close(
        logprobs[same], logprobs_expected[same], atol=1e-5, rtol=1e-6, equal_nan=True
    )
    finite = torch.ones(2000, dtype=torch.bool)
    finite[[7, 9]] = False
    assert logprobs[~finite].isnan().all() and logprobs[finite].isfinite().all()


@pytest.mark.parametrize("kernels", DRAWS)
def test_what_cannot_be_is_never_drawn(kernels: Kernels) -> None:
    """Whatever the sums round to: probabilities over 70 powers of two, at the largest uniform."""
    generator = torch.Generator().manual_seed(0)
    logits = 8 * torch.randn(5000, 700, generator=generator)
    logits[:, 660:] = float("-inf")
    uniforms = torch.full((5000,), 1 - 2**-53, dtype=torch.float64)
    tokens, _ = kernels.draw(logits, torch.ones(5000), uniforms)
    assert tokens.max() < 660


def test_frequencies_are_the_softmax(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    with torch.no_grad():
        policy.get_output_embeddings().weight.mul_(8)  # far from uniform
    engine = LocalEngine(policy, AutoTokenizer.from_pretrained(tiny_model_dir), max_batch_size=500)
    n = 4000
    results = generate(engine, [(5, 6, 7)] * n, SamplingParams(1, 1.5), seed=0)
    with torch.no_grad():
        logits = policy(torch.tensor([[5, 6, 7]])).logits[0, -1] / 1.5
    expected = torch.softmax(logits.double(), -1) * n
    counts = torch.bincount(
        torch.tensor([r.response_ids[0] for r in results]), minlength=len(expected)
    ).double()
    common = expected > 5
    observed = [*counts[common].tolist(), float(counts[~common].sum())]
    wanted = [*expected[common].tolist(), float(expected[~common].sum())]
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_rows_stop_at_their_end_of_turn(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    engine = LocalEngine(policy, AutoTokenizer.from_pretrained(tiny_model_dir), max_batch_size=8)
    results = generate(engine, [(5,)] * 200, SamplingParams(60, 1.0), seed=0)
    stopped = [r for r in results if r.finish == "stop"]
    assert stopped
    assert all(r.response_ids[-1] == 2 and 2 not in r.response_ids[:-1] for r in stopped)
    assert all(len(r.tokens) == 60 for r in results if r.finish == "length")


def test_training_mode_is_restored(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU).train()
    engine = LocalEngine(policy, AutoTokenizer.from_pretrained(tiny_model_dir))
    result = generate(engine, [(5,)], SamplingParams(2), seed=0)[0]
    assert policy.training
    assert result.tokens[0].weight_version == 0


def test_what_does_not_fit_is_refused(tiny_model_dir: Path) -> None:
    policy = load_policy(str(tiny_model_dir), device=CPU)
    engine = LocalEngine(policy, AutoTokenizer.from_pretrained(tiny_model_dir))
    context = policy.config.max_position_embeddings
    with pytest.raises(DataError, match="do not fit the model's context"):
        engine.submit([GenerationRequest((5,) * context, SamplingParams(1), 0)])
    with pytest.raises(DataError, match="needs a prompt"):
        engine.submit([GenerationRequest((), SamplingParams(1), 0)])
