"""An engine elsewhere: equal to the local one, whom it lets in, and what it says when it fails."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import torch

from accord.core.errors import ConfigError, DataError, ModelError
from accord.core.run_dir import RunDir
from accord.core.types import SamplingParams
from accord.corpora.encoding import ChatEncoder
from accord.engine.generate import generate
from accord.engine.local import LocalEngine
from accord.engine.remote import RemoteEngine
from accord.engine.server import EngineServer
from accord.models.loading import load_policy, load_tokenizer
from accord.models.lora import add_lora
from accord.stages.policy_training.ppo.config import Config
from accord.stages.policy_training.ppo.run import run as run_ppo
from accord.wiring import protocols_for

CPU = torch.device("cpu")
PROMPTS = [(5, 6, 7), (8,), tuple(range(10, 30)), (8,)]


@pytest.fixture
def policy(tiny_model_dir: Path) -> Any:
    return load_policy(str(tiny_model_dir), device=CPU)


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


@pytest.fixture
def server(tiny_model_dir: Path, encoder: ChatEncoder) -> Iterator[EngineServer]:
    yield from serving(tiny_model_dir, encoder)


def serving(model: Path, encoder: ChatEncoder, **options: Any) -> Iterator[EngineServer]:
    engine = LocalEngine(load_policy(str(model), device=CPU), encoder)
    about = {"end_of_turn_id": encoder.end_of_turn_id, "vocabulary": 300}
    server = EngineServer(engine, about, **options)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()


def texts(engine: Any, policy: Any, version: int) -> Any:
    engine.load_weights(policy.state_dict(), version=version)
    return generate(engine, PROMPTS, SamplingParams(9), seed=3)


def test_it_is_the_local_engine(policy: Any, encoder: ChatEncoder, server: EngineServer) -> None:
    """Also after an optimizer step, with adapters, and for a second client."""
    with torch.no_grad():
        policy.lm_head.weight.mul_(1.5)
    remote, local = RemoteEngine(policy, encoder, url=server.address), LocalEngine(policy, encoder)
    assert texts(remote, policy, 1) == texts(local, policy, 1)
    adapted: Any = add_lora(policy, r=2, alpha=4, seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    second, local = (
        RemoteEngine(adapted, encoder, url=server.address),
        LocalEngine(adapted, encoder),
    )
    for mine, theirs in zip(texts(second, adapted, 2), texts(local, adapted, 2), strict=True):
        assert mine.response_ids == theirs.response_ids
        logprobs = [[token.logprob for token in result.tokens] for result in (mine, theirs)]
        assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4)
    second.close()
    assert len(remote.submit([])) == 0
    remote.close()


def test_ppo_samples_elsewhere(
    tiny_model_dir: Path, tmp_path: Path, server: EngineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run, with the sampler here and there."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"user {i}"}) + "\n" for i in range(24)))
    values: dict[str, Any] = {
        "model_name_or_path": str(tiny_model_dir), "prompts": str(prompts), "max_steps": 3,
        "reward_funcs": [f"{__name__}:count_know"], "per_device_train_batch_size": 8,
        "mini_batch_size": 8, "max_completion_length": 6, "eval_steps": 3, "max_length": 64,
    }  # fmt: skip
    runs = []
    for name, more in (("here", {}), ("there", {"engine": "remote", "engine_url": server.address})):
        config = Config.parse({**values, **more}, where="test")
        run_ppo(config, RunDir(tmp_path / name), **protocols_for(config))
        runs.append(RunDir(tmp_path / name).metrics())
    for here, there in zip(*runs, strict=True):
        assert there == pytest.approx(here, rel=1e-3, abs=1e-4, nan_ok=True)


def count_know(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(c)) for c in completions]


def test_errors_come_back_as_what_they_are(
    policy: Any, encoder: ChatEncoder, server: EngineServer
) -> None:
    engine = RemoteEngine(policy, encoder, url=server.address)
    with pytest.raises(DataError, match="request 0: needs a prompt"):
        generate(engine, [()], SamplingParams(3), seed=0)
    with pytest.raises(ModelError, match="1 weights are unknown"):
        engine.load_weights({**policy.state_dict(), "x": torch.ones(1)}, version=1)
    engine._vocabulary = 10**6  # so that only the server can refuse it
    with pytest.raises(DataError, match=f"{server.address}: request 0: prompt ids lie in 999"):
        generate(engine, [(999,)], SamplingParams(3), seed=0)
    assert len(generate(engine, PROMPTS, SamplingParams(3), seed=0)) == 4
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit([])


def test_another_model_or_nobody_is_refused(
    policy: Any, encoder: ChatEncoder, server: EngineServer
) -> None:
    server.about["vocabulary"] = 301
    with pytest.raises(ConfigError, match="another model is served there"):
        RemoteEngine(policy, encoder, url=server.address)
    with pytest.raises(ConfigError, match="no engine answers there"):
        RemoteEngine(policy, encoder, url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="expected http://HOST:PORT"):
        RemoteEngine(policy, encoder, url="somewhere")


def test_a_token_is_asked_for(
    tiny_model_dir: Path, policy: Any, encoder: ChatEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="set ACCORD_ENGINE_TOKEN"):
        next(serving(tiny_model_dir, encoder, host="0.0.0.0"))
    running = serving(tiny_model_dir, encoder, token="secret")
    server = next(running)
    for token in (None, "wrong", "sécret"):
        if token is None:
            monkeypatch.delenv("ACCORD_ENGINE_TOKEN", raising=False)
        else:
            monkeypatch.setenv("ACCORD_ENGINE_TOKEN", token)
        with pytest.raises(ConfigError, match="wrong or no token"):
            RemoteEngine(policy, encoder, url=server.address)
    monkeypatch.setenv("ACCORD_ENGINE_TOKEN", "secret")
    engine = RemoteEngine(policy, encoder, url=server.address)
    assert len(generate(engine, PROMPTS, SamplingParams(2), seed=0)) == 4
    engine.close()
    next(running, None)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/nowhere", b"{}", 404),
        ("/submit", b"not json", 400),
        ("/submit", b'{"session": "unknown", "requests": []}', 400),
        ("/weights?version=1", b"not tensors", 500),
        ("/weights", b"", 400),
    ],
)
def test_nonsense_is_refused_and_nothing_breaks(
    policy: Any, encoder: ChatEncoder, server: EngineServer, path: str, body: bytes, status: int
) -> None:
    parts = urlsplit(server.address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    connection.request("POST", path, body)
    response = connection.getresponse()
    assert response.status == status and "error" in json.loads(response.read())
    connection.close()
    engine = RemoteEngine(policy, encoder, url=server.address)
    assert len(generate(engine, PROMPTS, SamplingParams(2), seed=0)) == 4
    engine.close()


def test_bodies_have_limits(tiny_model_dir: Path, policy: Any, encoder: ChatEncoder) -> None:
    running = serving(tiny_model_dir, encoder, most_weight_bytes=1000)
    server = next(running)
    with pytest.raises(ConfigError, match="a body of .* bytes is refused|no engine answers"):
        RemoteEngine(policy, encoder, url=server.address)
    next(running, None)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_and_stops(
    tiny_model_dir: Path, policy: Any, encoder: Any, stop: signal.Signals
) -> None:
    command = [sys.executable, "-m", "accord.cli", "engine", "--port", "0"]
    command += ["--model_name_or_path", str(tiny_model_dir)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[-1]
            engine = RemoteEngine(policy, encoder, url=address)
            local = LocalEngine(policy, encoder)
            assert texts(engine, policy, 1) == texts(local, policy, 1)
            engine.close()
            process.send_signal(stop)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
