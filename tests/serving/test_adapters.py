"""Adapters of one base: its weights once, each name's answers those that it gives alone."""

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from torch import Tensor

from accord.cli import main
from accord.commands.serve import _app, _parser
from accord.commands.serve_names import named_models
from accord.core.errors import ModelError
from accord.models.adapter_files import is_plain, save_adapter
from accord.models.loading import load_policy, load_tokenizer
from accord.models.lora import add_lora
from accord.serving.app import build_app
from accord.serving.keys import Keys
from accord.serving.loading import load_policies
from accord.serving.metrics import server_metrics
from accord.serving.policies import Policies
from accord.serving.served import Served
from accord.wiring import engine_factory
from serving.served_parts import LOCAL, client_of, loaded

CPU = torch.device("cpu")
Save = Callable[..., Path]


@pytest.fixture
def save(tiny_model_dir: Path, tmp_path: Path) -> Save:
    """Writes adapters on the tiny model whose effect nobody could miss."""

    def save(name: str, *, seed: int, base: Path | None = None, **options: Any) -> Path:
        policy = load_policy(str(tiny_model_dir), device=CPU)
        adapted = add_lora(policy, seed=seed, **options)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter_name, parameter in adapted.named_parameters():
                if "lora_B" in parameter_name:
                    parameter.normal_(std=0.5, generator=generator)
        path = tmp_path / name
        tokenizer = load_tokenizer(str(tiny_model_dir))
        save_adapter(adapted, tokenizer, path, base=str(base or tiny_model_dir))
        return path

    return save


@pytest.fixture
def models(save: Save, tiny_model_dir: Path) -> dict[str, Path]:
    """Of unlike ranks, scales and layers."""
    some = ["q_proj", "v_proj", "down_proj"]
    return {
        "base": tiny_model_dir,
        "a": save("a", seed=1, r=2, alpha=4),
        "b": save("b", seed=2, r=5, alpha=16, target_modules=some, use_rslora=True),
    }


def answers(policies: Policies, asked: Sequence[tuple[str, Any]]) -> list[Any]:
    """Greedy completions with log-probs, all asked for at once."""

    async def run() -> list[Any]:
        app = build_app(policies, server_metrics(), keys=Keys({}))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:

            async def ask(model: str, prompt: Any) -> Any:
                body = {"model": model, "prompt": prompt, "max_tokens": 16, "temperature": 0,
                        "logprobs": 0, "echo": True}  # fmt: skip
                answer = await client.post("/v1/completions", json=body)
                return answer.json()["choices"][0]["logprobs"]

            found = await asyncio.gather(*(ask(*each) for each in asked))
        await policies.stop()
        return found

    return asyncio.run(run())


def policies_of(models: dict[str, Served]) -> Policies:
    return Policies(models, {}, {}, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("prefix_cache_mb", [0, 8])
def test_each_answers_as_it_does_alone(models: dict[str, Path], prefix_cache_mb: int) -> None:
    """In batches of all of them, of prompts that begin alike; prompts are read as it reads them."""
    start = [10 + i for i in range(40)]
    asked = [(name, [*start, 100 + i, 7 * i + 3]) for i in range(4) for name in models]
    together = loaded(models, server_metrics(), prefix_cache_mb=prefix_cache_mb)
    assert len({id(served.scheduler) for served in together.values()}) == 1
    found = answers(policies_of(together), [*asked, *asked])
    by_name: dict[str, Any] = {}
    for name, path in models.items():
        alone = loaded({name: path}, server_metrics())
        mine = [each for each in asked if each[0] == name]
        by_name[name] = iter(answers(policies_of(alone), mine) * 2)
    for (name, _), logprobs in zip([*asked, *asked], found, strict=True):
        expected = next(by_name[name])
        assert logprobs["tokens"] == expected["tokens"]
        values, wanted = (each["token_logprobs"][1:] for each in (logprobs, expected))
        assert values == pytest.approx(wanted, abs=1e-4)
    texts = {name: found[i]["tokens"][42:] for i, name in enumerate(models)}
    assert len(set(map(tuple, texts.values()))) == 3, "adapters that change nothing show nothing"


def test_the_base_is_in_memory_once(models: dict[str, Path], tiny_model_dir: Path) -> None:
    together = loaded(models, server_metrics())
    plain = load_policy(str(tiny_model_dir), device=CPU)

    def storages(policies: Sequence[torch.nn.Module]) -> dict[int, Tensor]:
        return {p.data_ptr(): p for policy in policies for p in policy.parameters()}

    found = storages([served.policy for served in together.values()])
    own = sum(p.numel() for p in plain.parameters())
    low_rank = [
        p for n, p in together["a"].policy.named_parameters() if n.endswith((".down", ".up"))
    ]
    assert low_rank
    assert sum(p.numel() for p in found.values()) == own + sum(p.numel() for p in low_rank)
    # The sampler's own layout of the weights is there once, too.
    assert len({id(served.scheduler._engine) for served in together.values()}) == 1
    asyncio.run(policies_of(together).stop())


def test_the_command_shares_what_it_can(models: dict[str, Path]) -> None:
    given = [f"{name}={path}" for name, path in models.items()]
    options = _parser().parse_args([*given, "--prefix_cache_mb", "3"])
    app = _app(options, named_models(options.models), Keys({}))
    served = app.state.services.policies.models
    assert list(served) == list(models)
    assert [served[name].adapter for name in models] == [None, "a", "b"]
    assert len({id(one.policy) for one in served.values()}) == 1
    assert served["a"].scheduler._engine._prefixes._most_bytes == 3 * 2**20
    asyncio.run(app.state.services.policies.stop())
    assert main(["serve", *given, "--prefix_cache_mb", "-1"]) == 2


def test_embeddings_are_those_of_the_adapter(models: dict[str, Path]) -> None:
    def embeddings(served: dict[str, Served]) -> dict[str, list[float]]:
        with client_of(served) as client:
            return {
                name: client.post("/v1/embeddings", json={"model": name, "input": "who asks?"})
                .json()["data"][0]["embedding"]
                for name in served
            }  # fmt: skip

    together = embeddings(loaded(models, server_metrics()))
    for name, path in models.items():
        alone = embeddings(loaded({name: path}, server_metrics()))
        assert together[name] == pytest.approx(alone[name], abs=1e-4)
    assert together["a"] != pytest.approx(together["base"], abs=1e-2)


def test_metrics_and_swaps_are_of_a_name(models: dict[str, Path], tiny_model_dir: Path) -> None:
    """What shares the weights goes on when a name leaves them."""
    metrics = server_metrics()

    def load(name: str, model: str) -> Served:
        return loaded({name: Path(model)}, metrics)[name]

    with client_of(loaded(models, metrics), metrics, load=load) as client:

        def ask(name: str) -> str:
            body = {"model": name, "prompt": [5, 6, 7], "max_tokens": 12, "temperature": 0}
            answer = client.post("/v1/completions", json=body)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["choices"][0]["text"])

        before = {name: ask(name) for name in models}
        assert 'accord_generations_total{finish="length",model="a"} 1' in metrics.render()
        for model in (models["b"], tiny_model_dir):  # the second swap unloads the first model of a
            body = {"name": "a", "model": str(model)}
            assert client.post("/admin/swap", json=body).status_code == 200
        assert ask("a") == before["base"]
        assert (ask("base"), ask("b")) == (before["base"], before["b"])
        assert client.get("/ready").status_code == 200


def test_what_cannot_share_is_loaded_alone(
    models: dict[str, Path], save: Save, tiny_model_dir: Path
) -> None:
    stacked = save("stacked", seed=3, base=models["a"], r=2, alpha=4)
    assert is_plain(str(models["a"])) and not is_plain(str(stacked))
    found = loaded({"base": tiny_model_dir, "stacked": stacked}, server_metrics())
    assert found["base"].policy is not found["stacked"].policy
    assert found["stacked"].adapter is None
    asyncio.run(policies_of(found).stop())
    path = models["b"] / "adapter_config.json"
    config = json.loads(path.read_text())
    for change in ({"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}):
        path.write_text(json.dumps(config | change))
        assert not is_plain(str(models["b"]))


def test_adapters_that_are_not_finite_are_refused(save: Save, tiny_model_dir: Path) -> None:
    bad = save("bad", seed=1, r=2, alpha=float("inf"))
    with pytest.raises(ModelError, match="not finite"):
        loaded({"base": tiny_model_dir, "bad": bad}, server_metrics())


def test_what_loads_leaves_no_thread(tiny_model_dir: Path) -> None:
    """See `in_passing_thread`: its helpers would slow down the engine's."""
    threads: list[threading.Thread] = []

    def factory(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return engine_factory("local")(*args, **options)

    paths = {"tiny": str(tiny_model_dir)}
    load_policies(paths, factory, server_metrics(), max_batch_size=2, most_waiting=2)
    assert threads and not any(thread.is_alive() for thread in threads)
