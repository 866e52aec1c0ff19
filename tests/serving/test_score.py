"""A reward model behind `/v1/score`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.types import Message
from accord.models.heads import init_reward_model
from accord.models.loading import load_tokenizer, save_model
from accord.rewards.learned import LearnedReward
from accord.serving.loading import is_reward, load_reward
from accord.serving.metrics import server_metrics
from serving.served_parts import client_of

CPU = torch.device("cpu")
WORDS = ["yes", "I don't know.", ""]


@pytest.fixture(scope="module")
def reward_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reward") / "model"
    model = init_reward_model(str(tiny_model_dir), device=CPU, seed=1)
    save_model(model, load_tokenizer(str(tiny_model_dir)), path)
    return path


def test_a_reward_model_is_known_by_its_config(reward_dir: Path, tiny_model_dir: Path) -> None:
    assert is_reward(str(reward_dir))
    assert not is_reward(str(tiny_model_dir)) and not is_reward("some/name")


def test_scores_are_the_reward_models_own(reward_dir: Path) -> None:
    prompt = [Message(role="user", content="What is the capital?")]
    own = LearnedReward(reward_dir, device=CPU, max_length=512).score(
        [prompt] * 3, WORDS, prompt_ids=[()] * 3, response_ids=[()] * 3, columns=[{}] * 3
    )
    rewards = {"judge": load_reward("judge", str(reward_dir))}
    with client_of({}, server_metrics(), rewards=rewards) as client:

        def ask(**body: Any) -> Any:
            return client.post("/v1/score", json={"model": "judge", **body})

        said = [[*prompt, {"role": "assistant", "content": words}] for words in WORDS]
        answer = ask(conversations=said)
        data = answer.json()["data"]
        assert answer.headers["x-accord-arm"] == "judge"
        assert [d["score"] for d in data] == pytest.approx(list(own.values), abs=1e-5)
        assert [d["index"] for d in data] == [0, 1, 2]
        assert ask(conversations=[prompt]).status_code == 422
        assert ask(conversations=[]).status_code == 422
        assert ask(conversations=said, model="none").status_code == 404
        long = [[*prompt, {"role": "assistant", "content": "x" * 3000}]]
        assert ask(conversations=long).status_code == 400
        counted = 'accord_requests_total{model="judge",route="/v1/score",status="%s"} %d'
        text = client.get("/metrics").text
        assert counted % (200, 1) in text and counted % (422, 1) in text
        assert [m["id"] for m in client.get("/v1/models").json()["data"]] == ["judge"]
