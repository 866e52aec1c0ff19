"""The chat page over models that say what they are told, on a port of its own."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI

from accord.core.types import GeneratedToken, GenerationRequest
from accord.corpora.encoding import ChatEncoder
from accord.engine.scripted import ScriptedEngine
from accord.models.loading import load_policy, load_tokenizer
from accord.serving.app import build_app
from accord.serving.feedback import Feedback
from accord.serving.keys import Keys
from accord.serving.metrics import ModelWatch, server_metrics
from accord.serving.policies import Alias, Policies
from accord.serving.scheduler import Scheduler
from accord.serving.served import Served
from accord.store.database import Database
from accord.store.judgements import SqlJudgements, Standing
from accord.store.source import StoredPreferences

FOREVER = "@"
"""A model that was asked to go on forever says this."""
RICH = """# A title
Some *words* and **more**, `code`, and [a link](https://example.org/x?a=1&b=2).

1. one
2. two
   - inner

| a | b |
|---|---|
| 1 | 2 |

> said

```python
print("<b>hi</b>")
```"""


class SlowEngine(ScriptedEngine):
    """So slow where it says the same for long that somebody can stop it."""

    def _token(self, token_id: int, request: GenerationRequest) -> GeneratedToken:
        if token_id == self.slow_id:
            time.sleep(0.02)
        return super()._token(token_id, request)

    slow_id = -1


class Saying:
    """What the models say; `texts` by what the last words of the prompt hold, else an echo."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.count = 0

    def __call__(self, name: str, encoder: ChatEncoder, ids: Sequence[int]) -> Sequence[int]:
        prompt = encoder.tokenizer.decode(list(ids))
        last = prompt.rsplit("user", 1)[-1]
        if "forever" in last:
            return [encoder.encode_text(FOREVER)[0]] * 4000
        self.count += 1
        for word, text in self.texts.items():
            if word in last:
                return encoder.encode_text(text)
        return encoder.encode_text(f"{name} answers, no. {self.count}")


def scripted(name: str, model: Path, saying: Saying, metrics: Any) -> Served:
    """A model that says what it is told."""
    encoder = ChatEncoder(load_tokenizer(str(model)))
    engine = SlowEngine(
        lambda request: saying(name, encoder, request.prompt_ids),
        end_of_turn_id=encoder.end_of_turn_id,
    )
    engine.slow_id = encoder.encode_text(FOREVER)[0]
    scheduler = Scheduler(engine, most_waiting=64)
    policy: Any = load_policy(str(model), device=torch.device("cpu"))
    policy.config.max_position_embeddings = 2**15  # hostile texts are long
    return Served(name, f"{name}-1", policy, encoder, scheduler, ModelWatch(metrics, name))


def chat_app(
    model: Path, store: Path | None, saying: Saying, *, keys: Keys | None = None, **options: Any
) -> FastAPI:
    """The gateway with its chat page, over models `red` and `blue` and an alias."""
    metrics = server_metrics()
    models = {name: scripted(name, model, saying, metrics) for name in ("red", "blue")}
    policies = Policies(models, {}, {"house": Alias.of({"red": 1.0})}, None)  # type: ignore[arg-type]
    kept = None if store is None else StoredPreferences("feedback", str(store), may_be_new=True)
    return build_app(
        policies,
        metrics,
        keys=keys or Keys({}),
        feedback=Feedback(kept, **options),
        has_chat_page=True,
    )


@contextmanager
def log_of(store: Path) -> Iterator[SqlJudgements]:
    """The judgements in a store."""
    database = Database.open(path=store)
    try:
        yield SqlJudgements(database)
    finally:
        database.close()


def stored(store: Path) -> list[Standing]:
    """What stands in it."""
    with log_of(store) as log:
        return log.current("feedback")
