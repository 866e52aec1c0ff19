"""Rewards that are plain Python functions with TRL's signature."""

import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

from accord.core import processes
from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json, hash_path
from accord.core.types import Message, Row, Scores, TextPrompt

_PACKAGE = Path(__file__).resolve().parent.parent

_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

_REGISTERED: dict[str, Any] = {}


def register(function: Callable[..., Any], *, taken: Collection[str] = ()) -> str:
    """A name by which `load_dotted` finds a function of this process, say of a notebook; numbered
    where another function (a lambda, a closure) has it among those that are `taken`.
    """
    # A partial, or an object that can be called, goes by its class.
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    base = name = f"python:{named.__module__}.{named.__qualname__}"
    number = 1
    while name in taken and _REGISTERED.get(name) is not function:
        number += 1
        name = f"{base}-{number}"
    _REGISTERED[name] = function
    return name


def load_dotted(name: str) -> Any:
    """What `package.module:name` or `package.module.name` points to, or a registered function.

    Raises:
        ConfigError: the name has neither form, the module cannot be imported, or has no such name.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    module_name, attribute = _parts(name)
    if not module_name or not attribute:
        raise ConfigError(f"{name!r}: expected 'package.module:name' or 'package.module.name'")
    _look_here()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigError(
            f"{name!r}: module {module_name!r} cannot be imported "
            f"({type(error).__name__}: {error}); is its folder on PYTHONPATH?"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise ConfigError(f"{name!r}: module {module_name!r} has no {attribute!r}") from None


def source_hash(name: str) -> str | None:
    """The SHA-256 of the file that a dotted name leads into, or of a registered function's source.

    None where there is none, and for what ships with Accord, which goes with its version.
    """
    try:
        if name in _REGISTERED:
            function = getattr(_REGISTERED[name], "func", _REGISTERED[name])  # inside a partial
            is_named = hasattr(function, "__qualname__")
            return hash_json(inspect.getsource(function if is_named else type(function)))
        _look_here()
        spec = importlib.util.find_spec(_parts(name)[0])
    except Exception:  # built in, or typed; or a parent's error, which `load_dotted` will tell
        return None
    file = Path(spec.origin) if spec and spec.origin else None
    if file is None or not file.is_file() or file.resolve().is_relative_to(_PACKAGE):
        return None
    return hash_path(file)


def _parts(name: str) -> tuple[str, str]:
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    return module, attribute


def _look_here() -> None:
    """Search the working directory too, as `python -m` does; the console script does not."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def exchanges(
    prompts: Sequence[Sequence[Message]], responses: Sequence[str]
) -> dict[str, list[Any]]:
    """`prompts` and `completions` as TRL gives them to a function: both texts where the data's
    prompt was one, else message lists, of which a completion's has one message.
    """
    are_texts = [isinstance(prompt, TextPrompt) for prompt in prompts]
    return {
        "prompts": [
            prompt[0]["content"] if is_text else list(prompt)
            for prompt, is_text in zip(prompts, are_texts, strict=True)
        ],
        "completions": [
            response if is_text else [Message(role="assistant", content=response)]
            for response, is_text in zip(responses, are_texts, strict=True)
        ],
    }


class FunctionReward:
    """A function `f(completions, prompts, **columns) -> list[float]` as a Reward.

    As in TRL, everything is passed by keyword and has one entry a response: `prompts` and
    `completions` as `exchanges` has them, `completion_ids` are the response's token ids, and each
    column of the data is a list (None where a row lacks it). A function without `**kwargs` is given
    only what it names.
    """

    def __init__(self, function: str | Callable[..., Sequence[SupportsFloat]]) -> None:
        """Take a function, or the dotted name of one.

        Raises:
            ConfigError: the name leads to nothing, or to something that cannot be called.
        """
        self.function = load_dotted(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise ConfigError(
                f"{function!r} is a {type(self.function).__name__}; expected a function"
            )
        self.name = (
            function
            if isinstance(function, str)
            else str(getattr(function, "__name__", type(function).__name__))
        )

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's; TRL passes none)
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],
    ) -> Scores:
        """Call the function once with all responses; NaN where it returned None, "not mine".

        Raises:
            DataError: the function asks for a column that no row has, or returned the wrong number
                of scores, or one that is no finite number; the message names function and index.
        """
        keys = dict.fromkeys(key for row in columns for key in row)
        arguments: dict[str, Any] = {key: [row.get(key) for row in columns] for key in keys}
        # The row's own prompt and completion would be a second, different truth.
        for key in ("prompt", "completion"):
            arguments.pop(key, None)
        arguments |= exchanges(prompts, responses)
        arguments["completion_ids"] = [list(ids) for ids in response_ids]
        given = self._accepted(arguments)
        # Asked once, not by every process: an endpoint is paid, and may answer otherwise.
        return Scores(
            processes.by_main(lambda: self._checked(self.function(**given), len(responses)))
        )

    def _accepted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        parameters = inspect.signature(self.function).parameters
        needed = {n: p for n, p in parameters.items() if p.kind not in _STARRED}
        missing = [n for n, p in needed.items() if p.default is p.empty and n not in arguments]
        if missing:
            raise DataError(
                f"reward function {self.name} asks for {missing[0]!r}, which is no column; there "
                f"are {', '.join(arguments)}"
            )
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return arguments
        return {key: value for key, value in arguments.items() if key in parameters}

    def _checked(self, returned: Any, count: int) -> list[float]:
        try:
            values = list(returned)
        except TypeError:
            raise DataError(
                f"reward function {self.name} returned a {type(returned).__name__}; expected a "
                f"list of {count} numbers, one a completion"
            ) from None
        if len(values) != count:
            raise DataError(
                f"reward function {self.name} returned {len(values)} scores for {count} "
                "completions; expected one each"
            )
        return [self._number(value, index) for index, value in enumerate(values)]

    def _number(self, value: Any, index: int) -> float:
        if value is None:
            return math.nan
        try:
            # A str is not SupportsFloat, though float() would parse it.
            number = float(value) if isinstance(value, SupportsFloat) else math.nan
        except (TypeError, ValueError, RuntimeError):  # arrays of more than one number
            number = math.nan
        if not math.isfinite(number):
            raise DataError(
                f"reward function {self.name} returned {value!r} for completion {index}; expected "
                "a finite number, or None where the function has nothing to say"
            )
        return number
