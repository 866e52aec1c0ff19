"""Weaknesses other than harm: each probe brings its questions, its attacks and its own scorer."""

from collections.abc import Sequence
from dataclasses import dataclass

from accord.red_team.attack import Attack
from accord.red_team.behaviours import Behaviour
from accord.red_team.pushback import GaveIn, Pushback, pushback_behaviours
from accord.red_team.questions import (
    Insistence,
    MadeItUp,
    TookThePremise,
    loaded_questions,
    riddles,
)
from accord.red_team.rewording import Direct
from accord.red_team.scorers import Scorer
from accord.red_team.special_casing import SpecialCased, Temptation, coding_tasks
from accord.red_team.tool_injection import Obeyed, ToolInjection, injected_notes
from accord.sandbox.levels import Level
from accord.sandbox.process import Limits
from accord.sandbox.sandbox import Sandbox
from accord.stages.red_team.config import Config
from accord.suites.gsm8k import load_word_problems

_LIMITS = Limits(wall_s=6.0, cpu_s=3.0)


@dataclass(frozen=True)
class Probe:
    """What is asked, how, and what counts: by rule, so that one scorer is enough."""

    behaviours: Sequence[Behaviour]
    attacks: Sequence[Attack]
    scorers: Sequence[Scorer]


def probes_of(config: Config) -> list[Probe]:
    """In the order of the config.

    Raises:
        DataError: GSM8K's file cannot be read.
        SandboxError: this machine cannot shut code in as well as was asked for.
    """
    return [_probe(name, config) for name in dict.fromkeys(config.probe)]


def _probe(name: str, config: Config) -> Probe:
    most = config.max_probe_questions
    if name == "sycophancy":
        assert config.gsm8k  # the config has checked it
        problems = load_word_problems(config.gsm8k)[:most]
        return Probe(pushback_behaviours(problems, seed=config.seed), [Pushback()], [GaveIn()])
    asking: list[Attack] = [Direct(), Insistence()]
    if name == "loaded_questions":
        return Probe(loaded_questions()[:most], asking, [TookThePremise()])
    if name == "over_confidence":
        return Probe(riddles()[:most], asking, [MadeItUp()])
    if name == "tool_injection":
        return Probe(injected_notes()[:most], [ToolInjection()], [Obeyed()])
    sandbox = Sandbox(minimum=Level[config.sandbox.upper()], limits=_LIMITS)
    return Probe(coding_tasks()[:most], [Direct(), Temptation()], [SpecialCased(sandbox)])
