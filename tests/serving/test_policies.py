"""Several policies at once: who is sent where, and swaps that drop nobody."""

import asyncio
import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from starlette.testclient import TestClient

from accord.core.errors import ConfigError, ModelError
from accord.serving.app import build_app
from accord.serving.keys import Keys
from accord.serving.metrics import server_metrics
from accord.serving.policies import Alias, Policies, pick
from accord.serving.refusals import ApiError
from accord.serving.served import Served
from accord.serving.tickets import Stopped
from serving.served_parts import LOCAL, client_of, scripted, tiny

AB = (("a", 0.9), ("b", 0.1))


def test_each_arm_gets_its_share_and_each_user_his_arm() -> None:
    found = {f"user{i}": pick(AB, f"user{i}") for i in range(5000)}
    assert Counter(found.values())["b"] / 5000 == pytest.approx(0.1, abs=0.015)
    assert all(pick(AB, user) == arm for user, arm in found.items())
    wider = {user: pick((("a", 0.7), ("b", 0.3)), user) for user in found}
    assert all(wider[user] == "b" for user, arm in found.items() if arm == "b")


@pytest.fixture
def models(tiny_model_dir: Path) -> dict[str, Served]:
    metrics = server_metrics()
    return {
        name: scripted(name, tiny_model_dir, lambda _, name=name: f"I am {name}", metrics)  # type: ignore[misc]
        for name in ("a", "b")
    }


def test_embeddings_are_of_the_arm_that_chats_and_are_counted(
    models: dict[str, Served], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "accord.serving")
    alias = Alias.of({"a": 1, "b": 1})
    with client_of(models, server_metrics(), aliases={"chat": alias}) as client:
        arms = []
        for user in (None, *map(str, range(9))):
            body = {"model": "chat", "input": "who?", "user": user}
            arms.append(client.post("/v1/embeddings", json=body).headers["x-accord-arm"])
            assert arms[-1] == ask(client, user)[0]
        assert set(arms) == {"a", "b"}
        text = client.get("/metrics").text
        assert client.post("/v1/embeddings", json={"model": "no", "input": "x"}).status_code == 404
    counted = 'accord_requests_total{{model="{}",route="/v1/embeddings",status="200"}} {}\n'
    assert all(counted.format(arm, arms.count(arm)) in text for arm in ("a", "b"))
    lines = [json.loads(record.message) for record in caplog.records]
    mine = [line for line in lines if line["route"] == "/v1/embeddings"]
    assert [line["arm"] for line in mine] == [*arms, ""]
    assert all(line["prompt_tokens"] > 0 for line in mine[:-1]) and mine[-1]["status"] == 404


def ask(client: TestClient, user: str | None, model: str = "chat", **more: Any) -> tuple[str, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "who?"}], "user": user, **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-accord-arm"], answer.json()["choices"][0]["message"]["content"]


def test_an_alias_is_sticky_and_says_which_arm(
    models: dict[str, Served], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "accord.serving")
    alias = Alias.of({"a": 1, "b": 1}, "b")
    with client_of(models, aliases={"chat": alias}) as client:
        found = {user: ask(client, user) for user in map(str, range(20))}
        assert all(said == f"I am {arm}" for arm, said in found.values())
        assert {arm for arm, _ in found.values()} == {"a", "b"}
        assert all(ask(client, user) == first for user, first in found.items())
        assert '"arm": "a"' in caplog.text and "who?" not in caplog.text
        assert '"shadow": "b"' in caplog.text
        canary = client.post("/admin/aliases", json={"name": "chat", "arms": {"b": 1}})
        assert canary.json() == {"arms": {"b": 1.0}, "shadow": None}
        assert {ask(client, user)[0] for user in found} == {"b"}
        for bad in ({"none": 1}, {"a": 0}, {"a": -1}, {}):
            body = {"name": "chat", "arms": bad}
            assert client.post("/admin/aliases", json=body).status_code == 400


def test_an_alias_of_nothing_is_refused(models: dict[str, Served]) -> None:
    with pytest.raises(ConfigError, match="no model"):
        Policies(models, {}, {"chat": Alias.of({"c": 1})}, load=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="already"):
        Policies(models, {}, {"a": Alias.of({"b": 1})}, load=None)  # type: ignore[arg-type]


def test_swap_and_rollback(models: dict[str, Served], tiny_model_dir: Path) -> None:
    def load(name: str, model: str) -> Served:
        if model == "none":
            raise ModelError("no such model")
        return scripted(name, tiny_model_dir, lambda _: f"now {model}", server_metrics())

    with client_of(models, load=load) as client:
        assert ask(client, None, "a")[1] == "I am a"
        bad = client.post("/admin/swap", json={"name": "a", "model": "none"})
        assert bad.status_code == 400 and ask(client, None, "a")[1] == "I am a"
        assert client.post("/admin/swap", json={"name": "x", "model": "v2"}).status_code == 404
        assert client.post("/admin/swap", json={"name": "a", "model": "v2"}).status_code == 200
        assert ask(client, None, "a")[1] == "now v2"
        assert client.post("/admin/rollback", json={"name": "a"}).status_code == 200
        assert ask(client, None, "a")[1] == "I am a"
        assert client.post("/admin/rollback", json={"name": "a"}).status_code == 409


def test_a_name_in_any_script_is_told_in_a_header(models: dict[str, Served]) -> None:
    models["чат"] = models.pop("a")
    with client_of(models) as client:
        assert ask(client, None, "чат") == (quote("чат"), "I am a")


def test_a_rollback_to_what_is_gone_changes_nothing(
    models: dict[str, Served], tiny_model_dir: Path
) -> None:
    async def main() -> None:
        made = iter("123")
        policies = Policies(
            models, {}, {}, lambda name, _: replace(models[name], version=next(made))
        )
        await policies.swap("a", "x")
        await policies.swap("a", "x")
        with pytest.raises(ApiError, match="nothing was swapped"):
            await policies.rollback("a", to="a-1")
        assert (await policies.rollback("a", to="1")).version == "1"

    asyncio.run(main())


def test_who_was_chosen_is_not_unloaded_before_he_is_asked(models: dict[str, Served]) -> None:
    async def main() -> None:
        policies = Policies(models, {}, {}, lambda name, _: models["b"])
        chosen = policies.choose("a", "").served
        with policies.kept(chosen):
            await policies.swap("a", "x")
            await policies.swap("a", "x")  # now nothing leads to him
            await asyncio.sleep(0.05)
            with chosen.places(1):  # a model that is unloaded has none
                pass
        await policies.stop()
        with pytest.raises(Stopped), chosen.places(1):
            pass

    asyncio.run(main())


def test_no_request_fails_while_models_are_swapped(tiny_model_dir: Path) -> None:
    """Clients ask without a pause while the model behind the name changes again and again."""

    def load(name: str, model: str) -> Served:
        return scripted(name, tiny_model_dir, lambda _: f"{model} " * 20, server_metrics())

    async def run() -> list[httpx2.Response]:
        policies = Policies({"chat": load("chat", "v0")}, {}, {}, load)
        app = build_app(policies, server_metrics(), keys=Keys({}))
        transport = httpx2.ASGITransport(app=app)
        found: list[httpx2.Response] = []
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:
            is_over = asyncio.Event()

            async def keep_asking() -> None:
                while not is_over.is_set():
                    body = {"model": "chat", "prompt": "x", "max_tokens": 200}
                    found.append(await client.post("/v1/completions", json=body))

            clients = [asyncio.create_task(keep_asking()) for _ in range(8)]
            for number in range(1, 4):
                seen = len(found)
                while len(found) < seen + 16:
                    await asyncio.sleep(0.001)
                body = {"name": "chat", "model": f"v{number}"}
                assert (await client.post("/admin/swap", json=body)).status_code == 200
            is_over.set()
            await asyncio.gather(*clients)
        await policies.stop()
        return found

    answers = asyncio.run(run())
    texts = [answer.json()["choices"][0]["text"] for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    # Every answer is whole, and of one model alone.
    assert set(texts) <= {f"v{number} " * 20 for number in range(4)}
    assert {"v0 " * 20, "v2 " * 20} <= set(texts)


def test_concurrent_answers_equal_serial_ones(tiny_model_dir: Path) -> None:
    """Under greedy decoding, or they first differ where the two best are within 1e-3."""
    metrics = server_metrics()
    prompts = [[10 + i, 20 + i, 30, 40 + 3 * i] for i in range(12)]

    def body_of(prompt: list[int]) -> dict[str, Any]:
        more = {"max_tokens": 24, "temperature": 0, "logprobs": 2}
        return {"model": "tiny", "prompt": prompt, **more}

    async def run() -> tuple[list[Any], list[Any]]:
        policies = Policies({"tiny": tiny("tiny", tiny_model_dir, metrics)}, {}, {}, None)  # type: ignore[arg-type]
        app = build_app(policies, metrics, keys=Keys({}))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=LOCAL) as client:

            async def ask(prompt: list[int]) -> Any:
                answer = await client.post("/v1/completions", json=body_of(prompt))
                return answer.json()["choices"][0]["logprobs"]

            together = await asyncio.gather(*map(ask, prompts))
            alone = [await ask(prompt) for prompt in prompts]
        await policies.stop()
        return together, alone

    together, alone = asyncio.run(run())
    for a, b in zip(together, alone, strict=True):
        pairs = enumerate(zip(a["tokens"], b["tokens"], strict=False))
        first = next((i for i, (x, y) in pairs if x != y), None)
        if first is not None:
            best = sorted(b["top_logprobs"][first].values())[-2:]
            assert best[1] - best[0] < 1e-3
