"""Known win rates, KL by enumeration, the same files after a kill, and bad input."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.core.errors import AccordError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import (
    GeneratedToken,
    GenerationRequest,
    GenerationResult,
    Message,
    PromptRow,
)
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.engine.local import LocalEngine
from accord.judges.reward_judge import RewardJudge
from accord.models.heads import init_reward_model
from accord.models.loading import load_tokenizer, save_model
from accord.stages.evaluation import responses as sampling
from accord.stages.evaluation import run as stage
from accord.stages.evaluation.config import Config
from accord.stages.evaluation.figures import Figures
from accord.stages.evaluation.responses import response_logprobs
from accord.stages.evaluation.scoring import load_learned

CPU = torch.device("cpu")


def starts_with_a(completions: list[Any], **_: Any) -> list[float]:
    return [float(c.startswith("a")) for c in completions]


def by_kind(completions: list[Any], kind: list[str]) -> list[dict[str, float]]:
    """Each kind has a behaviour of its own; one response's length is no 0/1."""
    return [
        {f"{k}_a": float(c.startswith("a")), "letters": float(len(c))}
        for c, k in zip(completions, kind, strict=True)
    ]


def too_few(completions: list[Any], **_: Any) -> list[dict[str, float]]:
    return [{}]


def no_numbers(completions: list[Any], **_: Any) -> list[dict[str, Any]]:
    return [{"a": "yes"} for _ in completions]


class Scripted:
    """The k-th policy that it is built for answers its n-th request with `scripts[k][n]`."""

    def __init__(self, *scripts: Sequence[str], budget: int = 1000) -> None:
        self.scripts, self.budget, self.built = scripts, budget, -1
        self.seeds: dict[int, list[int]] = {}

    def __call__(self, policy: Any, tokenizer: Any, *, max_batch_size: int = 1) -> "Scripted":
        self.encoder, self.built, self.asked = ChatEncoder(tokenizer), self.built + 1, 0
        return self

    def submit(self, requests: Sequence[GenerationRequest]) -> list[Any]:
        if self.budget == 0:
            raise RuntimeError("killed")
        self.budget -= 1
        self.seeds.setdefault(self.built, []).extend(request.seed for request in requests)
        return [self._answer(request) for request in requests]

    def _answer(self, request: GenerationRequest) -> Any:
        ids = self.encoder.encode_response(self.scripts[self.built][self.asked])
        self.asked += 1
        tokens = tuple(GeneratedToken(i, -1.0, 0) for i in ids)
        done = GenerationResult(request.prompt_ids, tokens, "stop")
        return type("Done", (), {"result": lambda self: done})()

    def load_weights(self, weights: Any, *, version: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    kinds = ["x", "x", "x", "x", "x", "x", "y", "y"]
    write_jsonl(path, [{"prompt": f"user asks {i}", "kind": k} for i, k in enumerate(kinds)])
    return path


@pytest.fixture(scope="module")
def other_model_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with other weights and, as a base model, no chat template."""
    folder = tmp_path_factory.mktemp("other-model")
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    tokenizer.chat_template = None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def config(model: Path, prompts: Path, /, **values: Any) -> Config:
    defaults: dict[str, Any] = {
        "policies": {"sft": str(model), "ppo": str(model)},
        "baseline": "sft",
        "reference": str(model),
        "prompts": str(prompts),
        "max_completion_length": 8,
        "max_length": 128,
    }
    return Config.parse({**defaults, **values}, where="test")


def run(config: Config, path: Path, engine: Any = LocalEngine) -> stage.Result:
    return stage.run(config, RunDir(path), engine_factory=engine)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


BASELINE = ["b 0", "b 1", "b 2", "b 3", "a 4", "a 5", "same", "b 7"]
POLICY = ["a 0", "a 1", "a 2", "a 3", "b 4", "a 55", "same", "a 7"]


def test_a_known_win_rate(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    """Five wins, one loss, one tie by score and one by identity: (5 + 2 / 2) / 8."""
    made = config(
        tiny_model_dir,
        prompts,
        scorer=f"{__name__}:starts_with_a",
        score_by="kind",
        behaviours=f"{__name__}:by_kind",
        num_samples_shown=3,
    )
    engine = Scripted(BASELINE, POLICY)
    result = run(made, tmp_path / "run", engine)
    assert engine.seeds[0] == engine.seeds[1] and len(set(engine.seeds[0])) == 8
    rate = result.win_rates["ppo"]["scorer"]
    assert (rate["mean"], rate["ties"], rate["n"]) == (0.75, 0.25, 8)
    assert rate["low"] < 0.75 < rate["high"] <= 1
    assert list(result.win_rates) == ["ppo"]
    sft, ppo = result.policies["sft"], result.policies["ppo"]
    assert (sft["score"]["mean"], ppo["score"]["mean"]) == (2 / 8, 6 / 8)
    # By kind: x goes from 2 of 6 to 5 of 6, y from none of 2 to one.
    assert (sft["score_x"]["mean"], ppo["score_x"]["mean"], ppo["score_x"]["n"]) == (
        2 / 6,
        5 / 6,
        6,
    )
    changes = {name: change["mean"] for name, change in result.changes["ppo"].items()}
    assert changes == pytest.approx({"score": 4 / 8, "score_x": 3 / 6, "score_y": 1 / 2})
    assert (
        result.changes["ppo"]["score_x"]["low"] < 3 / 6 < result.changes["ppo"]["score_x"]["high"]
    )
    assert list(result.changes) == ["ppo"]
    # Behaviours speak of the prompts that they apply to; Wilson's interval of 5 of 6.
    assert (ppo["x_a"]["mean"], ppo["x_a"]["n"]) == (5 / 6, 6)
    assert (ppo["x_a"]["low"], ppo["x_a"]["high"]) == pytest.approx((0.4365, 0.9699), abs=1e-4)
    assert (ppo["y_a"]["mean"], ppo["y_a"]["n"]) == (0.5, 2)
    assert ppo["letters"]["mean"] == pytest.approx(np.mean([len(t) for t in POLICY]))
    assert ppo["stop_rate"]["mean"] == 1
    samples = rows_of(result.samples)
    assert [s["kind"] for s in samples] == ["x", "y", "x"]
    assert samples[1]["responses"]["ppo"] == {"text": "same", "finish": "stop", "score": 0.0}
    metrics = RunDir(tmp_path / "run").metrics()
    assert [row["step"] for row in metrics] == [1, 2]
    assert metrics[1]["ppo/score"] == 6 / 8


def test_the_gate_is_held_against_the_candidate(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """PPO wins three times out of four; what it is asked for beyond that, it falls short of."""
    gate = tmp_path / "gate.toml"
    gate.write_text(
        '[win_rate.scorer]\nat_least = 0.75\non = "estimate"\n[change.score]\nat_least = 0.6\n'
        "[attack_success]\nat_most = 1.0\n"
    )
    made = config(tiny_model_dir, prompts, scorer=f"{__name__}:starts_with_a", gate=str(gate))
    result = run(made, tmp_path / "run", Scripted(BASELINE, POLICY))
    assert result.gate is not None and result.gate["held"] is False
    first, second, third = result.gate["conditions"]
    assert (first["value"], first["held"], first["run"]) == (0.75, True, "ppo")
    assert (second["held"], second["value"]) == (False, result.changes["ppo"]["score"]["low"])
    assert not third["held"] and "nobody measured" in third["why"]
    assert run(config(tiny_model_dir, prompts), tmp_path / "none").gate is None
    # Of the baseline, which wins against nobody, nothing is known of a win rate.
    made = config(
        tiny_model_dir, prompts, scorer=f"{__name__}:starts_with_a", gate=str(gate), candidate="sft"
    )
    result = run(made, tmp_path / "sft", Scripted(BASELINE, POLICY))
    assert result.gate is not None
    assert [c["value"] for c in result.gate["conditions"]] == [None] * 3


def test_the_judge_decides_and_identical_texts_tie(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    model = init_reward_model(str(tiny_model_dir), device=CPU, seed=3)
    with torch.no_grad():
        model.score.weight *= 30  # type: ignore[union-attr,operator]
    judge_dir = tmp_path / "judge"
    save_model(model, load_tokenizer(str(tiny_model_dir)), judge_dir)
    made = config(tiny_model_dir, prompts, judge_model=str(judge_dir), reward_model=str(judge_dir))
    result = run(made, tmp_path / "run", Scripted(BASELINE, POLICY))
    texts: list[list[Message]] = [[{"role": "user", "content": f"user asks {i}"}] for i in range(8)]
    judge = RewardJudge(load_learned(str(judge_dir), max_length=128))
    preferred = judge.compare(texts, POLICY, BASELINE)
    wins = [0.5 if a == b else float(p > 0.5)
            for p, a, b in zip(preferred, POLICY, BASELINE, strict=True)]  # fmt: skip
    rate = result.win_rates["ppo"]["judge"]
    assert rate["mean"] == pytest.approx(np.mean(wins))
    assert rate["ties"] == 1 / 8
    assert rate["mean_p"] == pytest.approx(np.mean(preferred), abs=1e-6)
    assert rate["mean_p_low"] < rate["mean_p"] < rate["mean_p_high"]
    assert "by_people" not in rate
    figures = result.policies["ppo"]
    assert figures["reward"]["mean"] == pytest.approx(figures["judge_score"]["mean"])


def test_people_correct_the_judge(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    """They judged four prompts of eight, all for the policy."""
    judge_dir = tmp_path / "judge"
    model = init_reward_model(str(tiny_model_dir), device=CPU, seed=3)
    save_model(model, load_tokenizer(str(tiny_model_dir)), judge_dir)
    rows = [
        {
            "annotator": "Ann", "annotator_kind": "person", "prompt": f"user asks {i}",
            "response_a": POLICY[i], "response_b": BASELINE[i], "verdict": "a",
        }
        for i in range(8)
        if POLICY[i] != BASELINE[i]
    ][:4]  # fmt: skip
    write_jsonl(tmp_path / "people.jsonl", rows)
    made = config(
        tiny_model_dir,
        prompts,
        judge_model=str(judge_dir),
        human_judgements=[str(tmp_path / "people.jsonl")],
    )
    rate = run(made, tmp_path / "run", Scripted(BASELINE, POLICY)).win_rates["ppo"]["judge"]
    assert rate["mean_p"] < 0.9 < rate["by_people"]
    assert rate["by_people_low"] <= rate["by_people"] <= rate["by_people_high"]


def test_a_policy_has_no_kl_to_itself_and_its_sampler_agrees(
    tiny_model_dir: Path, other_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    made = config(
        tiny_model_dir,
        prompts,
        policies={"base": str(other_model_dir), "sft": str(tiny_model_dir)},
    )
    result = run(made, tmp_path / "run")
    base, sft = result.policies["base"], result.policies["sft"]
    for name in ("kl_nats", "kl_k3_nats"):
        assert abs(sft[name]["mean"]) < 1e-5
    assert base["kl_nats"]["mean"] > 0.1 and base["kl_k3_nats"]["mean"] > 0.1
    for figures in (base, sft):
        assert 0 < figures["sampler_gap_mean_nats"]["mean"] < 1e-4
        assert figures["sampler_gap_nats"]["mean"] < 1e-4


def test_kl_of_one_token_by_enumeration(tiny_model_dir: Path, other_model_dir: Path) -> None:
    """sum_x pi(x) k1(x) over all 300 first tokens is the KL of the two distributions."""
    made = config(tiny_model_dir, Path("unused.jsonl"), temperature=0.7)
    prompt = (1, 17, 99, 42)
    everything = [Encoded(prompt, (token,)) for token in range(300)]
    models = [
        AutoModelForCausalLM.from_pretrained(path).eval()
        for path in (other_model_dir, tiny_model_dir)
    ]
    found = [
        np.concatenate(response_logprobs(model, everything, pad_id=3, config=made))
        for model in models
    ]
    with torch.no_grad():
        logits = [model(torch.tensor([prompt])).logits[0, -1].double() / 0.7 for model in models]
    p, q = (torch.distributions.Categorical(logits=each) for each in logits)
    exact = float(torch.distributions.kl_divergence(p, q))
    assert exact > 0.05
    assert float((np.exp(found[0]) * (found[0] - found[1])).sum()) == pytest.approx(exact, abs=1e-5)


def test_kl_of_samples_is_near_the_enumerated_one(
    tiny_model_dir: Path, other_model_dir: Path, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prompt": "user asks"}] * 600)
    made = config(
        tiny_model_dir,
        tmp_path / "p.jsonl",
        policies={"base": str(other_model_dir)},
        baseline="base",
        max_completion_length=1,
    )
    result = run(made, tmp_path / "run")
    first = rows_of(tmp_path / "run" / "responses-base.jsonl")[0]
    with torch.no_grad():
        p, q = (
            torch.distributions.Categorical(
                logits=AutoModelForCausalLM.from_pretrained(path)(
                    torch.tensor([first["prompt_ids"]])
                ).logits[0, -1]
            )
            for path in (other_model_dir, tiny_model_dir)
        )
    exact = float(torch.distributions.kl_divergence(p, q))
    noise = float(((p.logits - q.logits).square() * p.probs).sum().sqrt()) / math.sqrt(600)
    figures = result.policies["base"]
    assert figures["kl_nats"]["mean"] == pytest.approx(exact, abs=4 * noise)
    assert figures["kl_k3_nats"]["mean"] == pytest.approx(exact, rel=0.3)
    assert result.win_rates == result.changes == {}


@pytest.mark.parametrize("temperature", [1.0, 0.0])
def test_a_killed_run_resumes(
    tiny_model_dir: Path,
    other_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    temperature: float,
) -> None:
    monkeypatch.setattr(sampling, "CHUNK_PROMPTS", 3)
    made = config(
        tiny_model_dir,
        prompts,
        policies={"sft": str(tiny_model_dir), "base": str(other_model_dir)},
        temperature=temperature,
        scorer=f"{__name__}:starts_with_a",
    )
    whole = run(made, tmp_path / "whole")

    submissions: list[int] = []

    def killed_after(count: int) -> Callable[..., Any]:
        def factory(policy: Any, tokenizer: Any) -> Any:
            engine = LocalEngine(policy, tokenizer)
            submit = engine.submit

            def limited(requests: Sequence[GenerationRequest]) -> Any:
                if len(submissions) == count:
                    raise RuntimeError("killed")
                submissions.append(len(requests))
                return submit(requests)

            engine.submit = limited  # type: ignore[method-assign]
            return engine

        return factory

    with pytest.raises(RuntimeError, match="killed"):
        run(made, tmp_path / "cut", killed_after(4))
    assert submissions == [3, 3, 2, 3]
    resumed = run(made, tmp_path / "cut", killed_after(6))
    assert submissions == [3, 3, 2, 3, 3, 2]
    assert resumed.policies == whole.policies and resumed.win_rates == whole.win_rates
    again = run(made, tmp_path / "cut", killed_after(6))  # nothing is sampled any more
    assert again.policies == whole.policies
    names = ["responses-sft.jsonl", "responses-base.jsonl", "samples.jsonl", "metrics.jsonl"]
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_overlong_prompts_are_cut_and_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prompt": "x " * 300}, {"prompt": "short"}])
    result = run(config(tiny_model_dir, tmp_path / "p.jsonl"), tmp_path / "run")
    assert result.cut_prompts == 2  # one prompt, two policies
    rows = rows_of(tmp_path / "run" / "responses-ppo.jsonl")
    assert len(rows[0]["prompt_ids"]) == 128 - 8


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"baseline": "stf"}, "no policy 'stf'; did you mean 'sft'"),
        ({"policies": {"a/b": "m"}, "baseline": "a/b"}, "part of a file's name"),
        ({"max_completion_length": 128}, "no room"),
        ({"prompts": "missing.jsonl"}, "no such file"),
        ({"max_prompts": 0}, "leaves no prompt"),
        ({"reference": "/nowhere/model"}, "no such model directory"),
        ({"judge_model": "/nowhere/model"}, "no such model directory"),
        ({"scorer": "nowhere:at_all"}, "cannot be imported"),
        ({"gate": "missing.toml"}, "missing.toml: no such config file"),
        ({"candidate": "ppo"}, "give gate"),
        ({"gate": "g.toml", "candidate": "pppo"}, "no policy 'pppo'; did you mean 'ppo'"),
        ({"gate": "g.toml", "policies": {"sft": "m"}}, "whom is the gate for"),
        ({"behaviours": f"{__name__}:CPU"}, "expected a function"),
        ({"behaviours": f"{__name__}:too_few"}, "a list of 1 for 8 responses"),
        ({"behaviours": f"{__name__}:no_numbers"}, "for response 0; expected a dict of finite"),
    ],
)
def test_bad_input_is_one_clear_error(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(AccordError, match=message):
        run(config(tiny_model_dir, prompts, **values), tmp_path / "run")


def test_a_policy_with_unknown_tokens_is_refused(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(tiny_model_dir, strange)
    tokenizer = load_tokenizer(str(strange))
    tokenizer.add_tokens(["<|tool|>"])
    tokenizer.save_pretrained(strange)
    made = config(tiny_model_dir, prompts, policies={"tool": str(strange)}, baseline="tool")
    with pytest.raises(AccordError, match="tokens that the reference"):
        run(made, tmp_path / "run")
    # The other way round there is a KL: the reference knows all that the policy can say.
    run(config(tiny_model_dir, prompts, reference=str(strange)), tmp_path / "other")


def test_responses_of_other_prompts_are_not_mixed_in(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    made = config(tiny_model_dir, prompts)
    run(made, tmp_path / "run")
    path = tmp_path / "run" / "responses-sft.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(AccordError, match="has 5 responses to 8 prompts"):
        run(made, tmp_path / "run")


def test_the_judge_is_checked_or_called_unchecked(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    judge = init_reward_model(str(tiny_model_dir), device=CPU, seed=0)
    save_model(judge, load_tokenizer(str(tiny_model_dir)), tmp_path / "judge")
    rng = np.random.default_rng(0)
    sides = [rng.permutation(["aa", "bbbb"]).tolist() for _ in range(40)]
    pairs = [
        {"prompt": f"user asks {n}", "chosen": f"{a}{n}", "rejected": f"{b}{n}"}
        for n, (a, b) in enumerate(sides)
    ]
    write_jsonl(tmp_path / "gold.jsonl", pairs)
    for values, warning in (
        ({}, "judge model was not checked against pairs of known quality"),
        ({"judge_comparisons": [str(tmp_path / "gold.jsonl")]}, "win rates are not valid: judge"),
    ):
        made = config(tiny_model_dir, prompts, judge_model=str(tmp_path / "judge"), **values)
        out = tmp_path / f"out-{len(values)}"
        result = stage.run(made, RunDir(out), engine_factory=Scripted(*[["a b"] * 8] * 2))
        assert result.warnings[0].startswith(warning)
        assert result.win_rates["ppo"]["judge"]["minimum_detectable_effect"] == 0.0


def test_what_a_win_rate_cannot_show() -> None:
    rows = [PromptRow([Message(role="user", content=f"{n}")], {}) for n in range(8)]
    figures = Figures(rows, seed=0)
    margins = [1.0] * 5 + [-1.0] + [0.0] * 2
    found = figures.win_rate(margins, ["a"] * 8, ["b"] * 8)
    outcomes = [1.0] * 5 + [0.0] + [0.5] * 2
    error = np.std(outcomes, ddof=1) / math.sqrt(8)
    assert found is not None
    # 1.96 for a two-sided test at 5%, 0.84 for a power of 80%.
    expected = (1.959964 + 0.841621) * error
    assert found["minimum_detectable_effect"] == pytest.approx(expected, rel=1e-5)
