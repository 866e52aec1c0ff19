"""The double: scripts by prompt, and where they end."""

import pytest

from accord.core.errors import DataError
from accord.core.types import SamplingParams
from accord.engine.generate import generate
from accord.engine.scripted import ScriptedEngine


@pytest.mark.parametrize(
    ("script", "expected", "finish"),
    [
        ([7, 8], (7, 8, 2), "stop"),  # the end of turn is added
        ([7, 2, 8], (7, 2), "stop"),  # or stands in the script
        ([7, 8, 9, 10], (7, 8, 9), "length"),
        ([7, 8, 9], (7, 8, 9), "length"),  # no room for the end of turn
        ([], (2,), "stop"),
    ],
)
def test_scripts_by_prompt(script: list[int], expected: tuple[int, ...], finish: str) -> None:
    engine = ScriptedEngine({(1,): script}, end_of_turn_id=2, logprob=-0.5)
    (result,) = generate(engine, [(1,)], SamplingParams(3), seed=0)
    assert (result.response_ids, result.finish) == (expected, finish)
    assert {token.logprob for token in result.tokens} == {-0.5}


def test_a_prompt_without_a_script_is_refused() -> None:
    engine = ScriptedEngine({(1,): [7]}, end_of_turn_id=2)
    with pytest.raises(DataError, match=r"no response to the prompt \(3,\)"):
        generate(engine, [(1,), (3,)], SamplingParams(3), seed=0)
