"""Models to be served in tests: a scripted one that says what it is told, and a tiny real one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from starlette.testclient import TestClient

from accord.core.types import GenerationRequest
from accord.corpora.encoding import ChatEncoder
from accord.engine.scripted import ScriptedEngine
from accord.models.loading import load_policy, load_tokenizer
from accord.serving.app import build_app
from accord.serving.apps import App
from accord.serving.keys import Keys
from accord.serving.loading import load_policies
from accord.serving.metrics import Metrics, ModelWatch, server_metrics
from accord.serving.policies import Alias, Policies
from accord.serving.scheduler import Scheduler
from accord.serving.served import Served, ServedReward
from accord.wiring import engine_factory

LOCAL = "http://127.0.0.1"
Say = Callable[[str], str]


def scripted(
    name: str, model: Path, say: Say, metrics: Metrics, *, queue: int = 64, context: int = 512
) -> Served:
    """Answers a prompt's text with `say` of it; the policy beside it is the tiny one."""
    encoder = ChatEncoder(load_tokenizer(str(model)))

    def script(request: GenerationRequest) -> list[int]:
        return encoder.encode_text(say(encoder.tokenizer.decode(list(request.prompt_ids))))

    engine = ScriptedEngine(script, end_of_turn_id=encoder.end_of_turn_id, context=context)
    scheduler = Scheduler(engine, most_waiting=queue)
    policy = load_policy(str(model), device=torch.device("cpu"))
    policy.config.max_position_embeddings = context
    return Served(name, f"{name}-1", policy, encoder, scheduler, ModelWatch(metrics, name))


def tiny(name: str, model: Path, metrics: Metrics) -> Served:
    """The tiny model, sampled by the local engine."""
    return loaded({name: model}, metrics)[name]


def loaded(
    models: Mapping[str, Path], metrics: Metrics, *, prefix_cache_mb: int = 0
) -> dict[str, Served]:
    """Models sampled by local engines."""
    factory = engine_factory("local", prefix_cache_mb=prefix_cache_mb)
    paths = {name: str(model) for name, model in models.items()}
    return load_policies(paths, factory, metrics, max_batch_size=16, most_waiting=64)


@contextmanager
def client_of(
    models: Mapping[str, Served],
    metrics: Metrics | None = None,
    *,
    keys: Keys | None = None,
    aliases: Mapping[str, Alias] | None = None,
    rewards: Mapping[str, ServedReward] | None = None,
    load: Any = None,
    apps: Sequence[App] = (),
    **options: Any,
) -> Iterator[TestClient]:
    """A client of a gateway over these models, on loopback."""
    policies = Policies(models, rewards or {}, aliases or {}, load, apps)
    app = build_app(policies, metrics or server_metrics(), keys=keys or Keys({}), **options)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        yield client
