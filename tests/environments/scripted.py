"""A policy that says what it is told, and an environment that answers from a list."""

from collections.abc import Callable, Sequence

from accord.core.episodes import Reply
from accord.core.types import GenerationRequest, Message, PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.engine.scripted import ScriptedEngine
from accord.environments.episode import LoopLimits, Played
from accord.environments.loop import run_episodes

LIMITS = LoopLimits(max_turns=8, max_action_tokens=400, max_length=8000)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def asked(question: str, **columns: object) -> PromptRow:
    return PromptRow((user(question),), columns)


def saying(encoder: ChatEncoder, *actions: str) -> ScriptedEngine:
    """For one episode: an action a request, and the last one again and again."""
    left = list(actions)

    def script(request: GenerationRequest) -> list[int]:
        return encoder.encode_text(left.pop(0) if len(left) > 1 else left[0])

    return ScriptedEngine(script, end_of_turn_id=encoder.end_of_turn_id)


def play_script(
    encoder: ChatEncoder,
    environment: Callable[[], object],
    row: PromptRow,
    *actions: str,
    limits: LoopLimits = LIMITS,
) -> Played:
    """One episode of a policy that says these actions."""
    engine = saying(encoder, *actions)
    return run_episodes(engine, environment, [row], encoder, limits, seed=0)[0]  # type: ignore


class Listed:
    """Answers with the listed observations, a reward of 1 each, and is done after them."""

    stops: tuple[str, ...] = ()

    def __init__(self, *observations: str, stops: Sequence[str] = ()) -> None:
        self.left = list(observations)
        self.heard: list[str] = []
        self.stops = tuple(stops)

    def reset(self, row: PromptRow, fits: object) -> tuple[Message, ...]:
        return row.prompt

    async def step(self, action: str) -> Reply:
        self.heard.append(action)
        if not self.left:
            return Reply(reward=1.0, is_done=True, answer=action)
        return Reply((user(self.left.pop(0)),), reward=1.0)
