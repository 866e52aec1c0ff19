"""accord chat: talk with a model, alone or in an environment that retrieves, computes or acts."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from accord.commands.apps import APPS, add_app_options, settings_of
from accord.core.errors import ConfigError

if TYPE_CHECKING:
    from accord.core.types import Message
    from accord.environments.episode import Played
    from accord.environments.voting import Voted

_LONGEST = 8192


def chat(arguments: list[str]) -> int:
    """Talk with a model: a line a question, an empty line or the end of input to leave."""
    options = _parser().parse_args(arguments)
    session = _Session(options)
    console = Console(highlight=False)
    while (question := _next_question(options, console)) is not None:
        _show(console, session.ask(question), is_verbose=not options.quiet)
        if options.ask is not None:
            break
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="accord chat", description=chat.__doc__)
    parser.add_argument("model", help="a policy's directory or hub name")
    parser.add_argument(
        "--app",
        default="conversation",
        help=f"what it acts in: {', '.join(APPS)}, or a dotted name (see accord grpo --help)",
    )
    parser.add_argument("--samples", type=int, default=1, help="episodes that vote on the answer")
    parser.add_argument("--temperature", type=float, help="0 (or 0.7 where samples vote)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ask", metavar="QUESTION", help="ask this alone, and leave")
    parser.add_argument("--quiet", action="store_true", help="answers alone, no steps")
    add_app_options(parser)
    return parser


class _Session:
    """A model with an environment, and what was said so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        from accord.core.assets import resolve_asset
        from accord.core.device import default_device
        from accord.corpora.encoding import ChatEncoder
        from accord.engine.local import LocalEngine
        from accord.environments.episode import LoopLimits
        from accord.environments.named import environment_factory
        from accord.models.loading import load_policy, load_tokenizer, within_context

        if options.samples < 1:
            raise ConfigError(f"--samples {options.samples}: expected 1 or more")
        name = str(resolve_asset(options.model))
        self.environments = environment_factory(options.app, settings_of(options, name))
        policy = load_policy(name, device=default_device())
        self.encoder = ChatEncoder(load_tokenizer(name))
        self.engine = LocalEngine(policy, self.encoder)
        longest = within_context(_LONGEST, policy.config)
        cold = 0.0 if options.samples == 1 else 0.7
        self.limits = LoopLimits(
            max_turns=options.max_turns,
            max_action_tokens=min(options.max_new_tokens, longest // 2),
            max_length=longest,
            temperature=cold if options.temperature is None else options.temperature,
        )
        self.samples, self.seed = options.samples, options.seed
        self.messages: list[Message] = []

    def ask(self, question: str) -> "Voted":
        """The answer to a question, which the next one may refer to."""
        from accord.core.types import Message, PromptRow
        from accord.environments.voting import vote

        self.messages.append(Message(role="user", content=question))
        found = vote(
            self.engine,
            self.environments,
            PromptRow(tuple(self.messages)),
            self.encoder,
            self.limits,
            samples=self.samples,
            seed=self.seed + len(self.messages),
        )
        said = _answer_of(found.chosen)
        self.messages.append(Message(role="assistant", content=said))
        return found


def _next_question(options: argparse.Namespace, console: Console) -> str | None:
    if options.ask is not None:
        return str(options.ask)
    if sys.stdin.isatty():
        console.print("[bold]you:[/bold] ", end="")
    return sys.stdin.readline().strip() or None


def _answer_of(played: "Played") -> str:
    return played.turns[-1].action.strip() if played.answer is None else played.answer


def _show(console: Console, found: "Voted", *, is_verbose: bool) -> None:
    played = found.chosen
    if is_verbose:
        for turn in played.turns[:-1]:
            console.print(escape(turn.action.strip()), style="dim")
            for message in turn.reply.observation:
                console.print(escape(message["content"].strip()), style="dim cyan")
    console.print(escape(_answer_of(played)) or "[dim](an empty answer)[/dim]")
    notes: dict[str, Any] = dict(played.turns[-1].reply.notes)
    for number in notes.get("cited", []):
        if 1 <= number <= len(notes["passages"]):
            passage = notes["passages"][number - 1]
            console.print(escape(f"  [{number}] {passage.title}"), style="dim")
    if len(found.episodes) > 1:
        counted = f"{found.vote.share:.0%} of {found.vote.counted} answers"
        console.print(f"  {counted}; {found.vote.skipped} had none", style="dim")
    if played.ended != "done":
        why = {"turns": "its turns were used up", "context": "the context was full"}
        console.print(f"  (stopped without an answer: {why[played.ended]})", style="yellow")
