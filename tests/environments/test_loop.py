"""Token in, token out: ids, masks, log-probs and ends of episodes."""

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from accord.core.episodes import Reply
from accord.core.errors import ConfigError, DataError
from accord.core.types import Message, PromptRow
from accord.corpora.encoding import PLAIN_TEMPLATE, ChatEncoder, Encoded
from accord.engine.local import LocalEngine
from accord.engine.scripted import ScriptedEngine
from accord.environments.episode import LoopLimits
from accord.environments.loop import run_episodes
from accord.models.logprobs import token_logprobs
from accord.training.batches import collate
from environments.scripted import LIMITS, Listed, asked, play_script, user

CHATML_INLINE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"
)
WITH_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nHelp.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))


@pytest.mark.parametrize("template", [None, CHATML_INLINE, WITH_SYSTEM, PLAIN_TEMPLATE])
def test_ids_are_those_of_the_whole_conversation(
    tiny_model_dir: Path, template: str | None
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    tokenizer.chat_template = template or tokenizer.chat_template
    encoder = ChatEncoder(tokenizer)
    actions = iter(["12", "search <|im_end|>", "19."])
    said: dict[int, list[int]] = {}

    def script(request: object) -> list[int]:
        length = len(request.prompt_ids)  # type: ignore[attr-defined]
        return said.setdefault(length, encoder.encode_text(next(actions)))

    engine = ScriptedEngine(script, end_of_turn_id=encoder.end_of_turn_id)
    observations = ("seven <|im_start|>system", "the capital")
    played = run_episodes(
        engine, lambda: Listed(*observations), [asked("What is it?")], encoder, LIMITS, seed=0
    )[0]
    conversation = [
        user("What is it?"),
        Message(role="assistant", content="12"),
        user(observations[0]),
        Message(role="assistant", content="search <|im_end|>"),
        user(observations[1]),
        Message(role="assistant", content="19."),
    ]
    ids, mask = encoder.encode_conversation(conversation)
    rollout = played.rollout
    mine = [*rollout.prompt_ids, *rollout.response_ids]
    assert mine == ids[: len(mine)]
    assert set(ids[len(mine) :]) <= set(encoder.tokenizer.encode("\n"))  # after the last turn
    my_mask = [False] * len(rollout.prompt_ids) + list(rollout.response_mask)
    assert my_mask == mask[: len(mine)]
    assert played.ended == "done" and rollout.finished and rollout.score == 3.0
    assert [turn.action for turn in played.turns][2] == played.answer == "19."


def test_mask_and_logprobs_by_hand(encoder: ChatEncoder) -> None:
    played = play_script(encoder, lambda: Listed("b"), asked("?"), "a", "c")
    rollout, end = played.rollout, encoder.end_of_turn_id
    between = encoder.tokenizer.encode(
        "\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n", add_special_tokens=False
    )
    a, c = encoder.encode_text("a"), encoder.encode_text("c")
    assert list(rollout.response_ids) == [*a, end, *between, *c, end]
    assert list(rollout.response_mask) == [True] * 2 + [False] * len(between) + [True] * 2
    assert rollout.old_logprobs == tuple(-1.0 if m else 0.0 for m in rollout.response_mask)
    assert rollout.chosen_ids == (*a, end, *c, end)


def test_a_stopped_action_is_closed_by_the_loop(encoder: ChatEncoder) -> None:
    """What is sampled after a stop is dropped; the end of turn is then no choice of the policy."""
    environment = Listed("b", stops=["\nObservation", "\n\n"])
    played = play_script(
        encoder, lambda: environment, asked("?"), "act\nObservation: invented\n\nmore", "c"
    )
    rollout = played.rollout
    assert environment.heard == ["act", "c"]
    kept = rollout.response_mask.index(False)
    assert encoder.decode(rollout.response_ids[:kept]) == "act\nObservation"
    assert rollout.response_ids[kept] == encoder.end_of_turn_id
    assert rollout.finished


def test_ends_are_visible(encoder: ChatEncoder) -> None:
    def ended(*observations: str, turns: int = 9, action: int = 10, length: int = 200) -> str:
        limits = LoopLimits(max_turns=turns, max_action_tokens=action, max_length=length)
        played = play_script(encoder, lambda: Listed(*observations), asked("?"), "a", limits=limits)
        rollout = played.rollout
        assert len(rollout.prompt_ids) + len(rollout.response_ids) <= length
        assert rollout.response_mask[-1], "an episode ends with what the policy chose"
        assert rollout.finished == (played.ended == "done")
        return played.ended

    assert ended("b") == "done"
    assert ended(*"bbbbb", turns=3) == "turns"
    assert ended("b" * 400) == "context"
    assert ended(*["b" * 20] * 30, turns=30) == "context"


def test_an_action_that_is_cut_off_is_answered(encoder: ChatEncoder) -> None:
    limits = LoopLimits(max_turns=4, max_action_tokens=3, max_length=200)
    environment = Listed("b")
    played = play_script(encoder, lambda: environment, asked("?"), "x" * 40, limits=limits)
    assert played.ended == "done" and not played.rollout.finished
    assert environment.heard == ["xxx", "xxx"]
    assert played.rollout.response_ids[3] == encoder.end_of_turn_id
    assert not played.rollout.response_mask[3]


def test_a_prompt_that_is_too_long_loses_its_start(encoder: ChatEncoder) -> None:
    limits = LoopLimits(max_turns=4, max_action_tokens=5, max_length=20)
    played = play_script(encoder, Listed, asked("x" * 100), "a", limits=limits)
    assert played.was_cut and len(played.rollout.prompt_ids) == 15
    with pytest.raises(ConfigError, match="shorter than max_length"):
        LoopLimits(max_turns=1, max_action_tokens=5, max_length=5)


def test_trainer_and_sampler_agree_across_observations(
    tiny_model_dir: Path, encoder: ChatEncoder
) -> None:
    policy = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    limits = LoopLimits(max_turns=4, max_action_tokens=12, max_length=300, temperature=0.7)
    rows = [asked(f"user asks {i}") for i in range(5)]
    engine = LocalEngine(policy, encoder)
    played = run_episodes(
        engine, lambda: Listed("the answer", "12 and 7"), rows, encoder, limits, seed=3
    )
    for rollout in (episode.rollout for episode in played):
        pair = Encoded(rollout.prompt_ids, rollout.response_ids)
        batch = collate([pair], pad_id=encoder.pad_id, device=torch.device("cpu"))
        mask = torch.tensor([[False] * len(rollout.prompt_ids) + list(rollout.response_mask)])
        batch = batch._replace(target_mask=mask)
        read = token_logprobs(policy, *batch, temperature=0.7).logprobs
        old = torch.tensor([[0.0] * len(rollout.prompt_ids) + list(rollout.old_logprobs)])
        assert (read - old).abs().max() < 1e-4
        assert not all(rollout.response_mask) and sum(rollout.response_mask) >= 3
    assert len({episode.rollout.response_ids for episode in played}) == 5
    alone = run_episodes(
        engine, lambda: Listed("the answer", "12 and 7"), rows[:1], encoder, limits, seed=3
    )
    assert alone[0].rollout.response_ids == played[0].rollout.response_ids


def test_it_runs_inside_a_running_loop(encoder: ChatEncoder) -> None:
    async def notebook() -> str:
        return play_script(encoder, Listed, asked("?"), "a").ended

    assert asyncio.run(notebook()) == "done"


def test_an_environment_that_says_nothing_is_refused(encoder: ChatEncoder) -> None:
    class Silent(Listed):
        async def step(self, action: str) -> Reply:
            return Reply()

    with pytest.raises(DataError, match="Silent: an answer that ends nothing"):
        play_script(encoder, Silent, PromptRow((user("?"),)), "a")
