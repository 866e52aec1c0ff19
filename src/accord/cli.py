"""accord STAGE --config F --field value: parse, call, print. Imports no torch until work starts."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from accord import __version__
from accord.core import processes
from accord.core.errors import AccordError, ConfigError, Interrupted, Waiting, describe_choice
from accord.stages import STAGES

_HELP = {
    "quickstart": "the whole loop on the embedded model and sample set, offline, in minutes",
    "run": "a pipeline from a config file; the same command resumes it",
    "sample": "write the sample set of the quickstart",
    "pretrain": "a base model from text",
    "sft": "imitate demonstrations",
    "revise": "a model's own responses, criticised and rewritten by a constitution",
    "preferences": "sample responses, gather judgements, export comparisons",
    "judge": "AI feedback: a model judges pairs or rankings; the doubtful ones go to people",
    "reward": "a reward model from comparisons or rankings",
    "process_reward": "a reward model that scores every step",
    "classifier": "a classifier of texts, calibrated: toxicity, refusal, helpfulness",
    "ppo": "reinforcement learning from a reward",
    "grpo": "reinforcement learning by groups of responses; also Dr. GRPO, DAPO, GSPO",
    "rloo": "REINFORCE with a leave-one-out baseline",
    "reinforce": "REINFORCE++: PPO's update without a value",
    "online_dpo": "DPO on fresh responses that a reward judges",
    "best_of_n": "the best of n responses to each prompt, as demonstrations",
    "dpo": "learn from comparisons directly; also IPO, hinge, robust, APO",
    "kto": "learn from responses that are each called good or bad",
    "orpo": "imitate and prefer in one stage, without a reference",
    "simpo": "learn from comparisons by mean log-probs, without a reference",
    "evaluate": "MODEL --suite ...: benchmarks; without MODEL, policies on the same prompts",
    "benchmark": "evaluate MODEL --suite, as a stage of a pipeline",
    "redteam": "MODEL ...: attacks on it, and training data from what gets through",
    "red_team": "redteam, as a stage of a pipeline",
    "oversight": "what a critique or a debate does for a weak judge, where the answer is known",
    "deploy": "a policy goes live where it keeps its gate's conditions; --rollback",
    "label": "the annotation app: one command, one file, a link for the lead",
    "constitution": "constitution ACTION: show, check, or draft one together",
    "chat": "MODEL [--app rag|react|pal|cot]: talk with it, with documents or tools",
    "serve": "serve MODEL...: OpenAI's protocol over policies and reward models",
    "export": "export MODEL --to hf|gguf|ollama: a model for other programs",
    "engine": "serve an engine to trainers elsewhere (--engine remote)",
    "data": "data inspect FILE: what is trained on; check, import, export, migrate ...",
    "lineage": "lineage RUN/STEP: from a model back to its data and judgements",
    "report": "report RUN: write report.html and summary.json again",
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status (130 after Ctrl-C, 75 where people are waited
    for, 3 where a model fell short of its gate, 2 for wrong input)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in {"-h", "--help"}:
        _print_help()
        return 0
    if arguments[0] == "--version":
        print(f"accord {__version__}")
        return 0
    command, rest = arguments[0], arguments[1:]
    if not processes.is_main():  # one of several: the main one speaks for all
        os.environ["ACCORD_QUIET"] = "1"
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (open to the end)
    try:
        return _commands().get(command, _unknown(command))(rest)
    except Interrupted as stop:
        print(f"accord: {stop}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("accord: interrupted before any checkpoint; run again to resume", file=sys.stderr)
        return 130
    except Waiting as wait:
        print(f"accord: {wait}", file=sys.stderr)
        return 75  # EX_TEMPFAIL of sysexits.h
    except AccordError as error:
        print(f"accord: {type(error).__name__}: {error}", file=sys.stderr)
        return 2


def _print_help() -> None:
    print("usage: accord COMMAND [options]      accord COMMAND --help for its options\n")
    print("Reinforcement learning from human feedback, the whole loop.\n")
    for name, text in _HELP.items():
        print(f"  {name:<12} {text}")


def _commands() -> dict[str, Callable[[list[str]], int]]:
    from accord import commands
    from accord.commands.chat import chat
    from accord.commands.export import export
    from accord.commands.serve import serve

    table: dict[str, Callable[[list[str]], int]] = {
        name: lambda rest, name=name: commands.run_stage(name, rest)  # type: ignore[misc]
        for name in STAGES
    }
    return {
        **table,
        "quickstart": commands.quickstart,
        "run": commands.run,
        "chat": chat,
        "constitution": commands.constitution,
        "data": commands.data,
        "deploy": commands.deploy,
        "engine": commands.engine,
        "evaluate": commands.evaluate,
        "export": export,
        "label": commands.label,
        "lineage": commands.lineage,
        "redteam": commands.redteam,
        "report": commands.report,
        "serve": serve,
    }


def _unknown(command: str) -> Callable[[list[str]], int]:
    def refuse(_: list[str]) -> int:
        raise ConfigError(f"no command {describe_choice(command, list(_HELP))}")

    return refuse


if __name__ == "__main__":
    sys.exit(main())
