"""Tools: schemas, checked arguments, the list of what is allowed; and the calculator."""

import asyncio
import threading
from typing import Any, Literal

import pytest

from accord.core.errors import ConfigError
from accord.environments.calculator import calculator, evaluate
from accord.environments.tools import Toolbox, ToolError, ToolResult, tool_of


def convert(amount: float, unit: Literal["km", "mile"], digits: int = 1) -> str:
    """Convert a length."""
    return f"{amount * (0.6214 if unit == 'km' else 1.609):.{digits}f}"


async def slow(text: str) -> str:
    await asyncio.sleep(60)
    return text


def stuck() -> str:
    threading.Event().wait()
    return "never"


def fails(text: str) -> str:
    raise KeyError(text)


def call(box: Toolbox, name: str, arguments: Any) -> ToolResult:
    return asyncio.run(box.call(name, arguments))


def test_a_function_s_schema() -> None:
    tool = tool_of(convert)
    assert tool.description == "Convert a length." and tool.only_parameter is None
    assert tool.parameters["required"] == ["amount", "unit"]
    assert tool.parameters["properties"]["unit"]["enum"] == ["km", "mile"]
    assert tool.parameters["additionalProperties"] is False
    assert tool.as_openai()["function"]["name"] == "convert"
    with pytest.raises(ConfigError, match="parameter x a type"):
        tool_of(lambda x: x, name="untyped")
    with pytest.raises(ConfigError, match="expected letters"):
        tool_of(convert, name="rm -rf")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"amount": 10, "unit": "km"}, "6.2"),
        ('{"amount": "10", "unit": "km", "digits": 2}', "6.21"),
    ],
)
def test_arguments_are_checked(arguments: Any, expected: str) -> None:
    assert call(Toolbox([tool_of(convert)]), "convert", arguments) == ToolResult(expected)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"amount": "ten", "unit": "km"}, "convert: amount: Input should be a valid number"),
        ({"amount": 1}, "convert: unit: Field required"),
        ({"amount": 1, "unit": "km", "shell": "x"}, "convert: shell: Extra inputs"),
        ("10 km", "expected a JSON object with amount, unit, digits"),
        ("{broken", "expected a JSON object"),
    ],
)
def test_wrong_arguments_are_told(arguments: Any, why: str) -> None:
    found = call(Toolbox([tool_of(convert)]), "convert", arguments)
    assert found.is_error and why in found.text


def test_only_what_is_allowed_runs() -> None:
    ran: list[str] = []

    def delete(path: str) -> str:
        """Delete a file."""
        ran.append(path)
        return "gone"

    tools = [tool_of(delete), tool_of(calculator)]
    box = Toolbox(tools, allowed=["calculator"])
    found = call(box, "delete", "all")
    assert found.is_error and "there are: calculator" in found.text and not ran
    assert "delete" not in box.describe()
    assert call(Toolbox(tools), "delete", "all").text == "gone" and ran == ["all"]
    with pytest.raises(ConfigError, match="no tool 'calculater'; did you mean 'calculator'"):
        Toolbox(tools, allowed=["calculater"])
    with pytest.raises(ConfigError, match="one name"):
        Toolbox([tool_of(delete), tool_of(delete)])


def test_failures_and_long_results_come_back_as_text() -> None:
    def long() -> str:
        return "x" * 50

    box = Toolbox(
        [tool_of(fails), tool_of(slow), tool_of(stuck), tool_of(long)],
        timeout_s=0.05,
        most_characters=9,
    )
    assert call(box, "fails", "a").is_error
    assert "longer than 0.05 s" in call(box, "slow", "a").text
    assert "longer than 0.05 s" in call(box, "stuck", "").text, "and nobody waits for its thread"
    assert call(box, "long", "").text == "xxxxxxxxx ... (41 more)"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12 + 7", "19"),
        ("(3 + 4) * 2.5", "17.5"),
        ("0.1 + 0.2", "0.3"),
        ("$1,234.50 / 2", "617.25"),
        ("-2 ** 2", "-4"),
        ("2 ^ 10 − 24", "1000"),
        ("7 // 2 + 7 % 4", "6"),
        ("20% * 50", "10"),
        ("12 / 20%", "60"),
        ("100 - 2.5 %", "99.975"),
        ("1/3", "0.3333333333"),
        ("2 ** -1", "0.5"),
    ],
)
def test_the_calculator_is_exact(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "().__class__", "1 if 2 else 3", "a + 1", "True", "1j",
        "[1]", "'a' * 9", "lambda: 1", "9 ** 9 ** 9", "9 ** 0.5", "1 / 0", "", "(" * 150, "1 +",
        "1" * 201, "64**64 * 64**64 * 64**64 * 64**64 * 64**64 * 64**64 * 64**64 * 64**64 * 64**64"
        " * 64**64 * 64**64 * 64**64", "0 ** -1", "1e999999999", "1\x00",
    ],
)  # fmt: skip
def test_the_calculator_is_nothing_else(expression: str) -> None:
    with pytest.raises(ToolError):
        evaluate(expression)


def test_a_result_that_no_text_can_hold_is_told() -> None:
    def halved() -> str:
        return "caf\ud83d"

    def keyed() -> dict[tuple[int, int], int]:
        return {(1, 2): 3}

    box = Toolbox([tool_of(halved), tool_of(keyed)])
    assert call(box, "halved", "") == ToolResult("caf?")
    assert call(box, "keyed", "").is_error


def test_a_plain_input_is_read_as_its_type() -> None:
    def total(numbers: list[float]) -> float:
        return sum(numbers)

    box = Toolbox([tool_of(total)])
    assert call(box, "total", "[1, 2.5]") == ToolResult("3.5")
    assert call(box, "total", "one").is_error
