"""Options that `accord chat` and `accord serve` share: what an app's environment is made of."""

import argparse
from typing import TYPE_CHECKING

from accord.core.errors import ConfigError

if TYPE_CHECKING:
    from accord.environments.named import Settings

APPS = ("conversation", "rag", "react", "pal", "cot", "calculator")


def add_app_options(parser: argparse.ArgumentParser) -> None:
    """All but the app's own name."""
    add = parser.add_argument_group("apps").add_argument
    add("--documents",
        help="for rag and react: a folder of texts, rows, or an index of accord data index",
    )  # fmt: skip
    add("--tool", action="append", default=[], metavar="NAME",
        help="for react, repeatable: what may run; calculator, program, search, lookup, or the "
        "dotted name of a typed function")  # fmt: skip
    add("--mcp", action="append", default=[], metavar="COMMAND",
        help="for react, repeatable: starts an MCP server, of whose tools those of --tool may run",
    )  # fmt: skip
    add("--dense", action="store_true",
        help="search documents by the (first) model's own states, too")  # fmt: skip
    add("--embedding", metavar="MODEL",
        help="search by this model's in their place: a directory of sentence-transformers, or of "
        "a language model")  # fmt: skip
    add("--passages", type=int, default=5, help="for rag: most passages before a question")
    add("--min_coverage", type=float, default=0.6,
        help="for rag: share of a question's words below which no passage is shown")  # fmt: skip
    add("--verify", action="store_true", help="for cot: ask for a check of the steps at the end")
    add("--retries", type=int, default=0, help="for pal: programs after one that failed")
    add(
        "--exemplars",
        metavar="FILE",
        help="for cot, pal, react and calculator: conversations (JSON) in place of those that ship",
    )
    add("--max_turns", type=int, default=8, help="actions a question")
    add("--max_new_tokens", type=int, default=256, help="longest action, unless a client says so")
    add("--sandbox", default="confined", help="weakest level for programs")


def settings_of(options: argparse.Namespace, model: str) -> "Settings":
    """What the options say; `model` is whose states --dense searches by.

    Raises:
        ConfigError: --dense and --embedding name two models.
    """
    if options.dense and options.embedding:
        raise ConfigError("--dense searches by the model's own states; give it or --embedding")
    from accord.environments.named import Settings

    return Settings(
        documents=options.documents,
        tools=tuple(options.tool),
        embedding_model=options.embedding or (model if options.dense else None),
        sandbox=options.sandbox,
        mcp=tuple(options.mcp),
        passages=options.passages,
        min_coverage=options.min_coverage,
        verifies=options.verify,
        retries=options.retries,
        exemplars=options.exemplars,
    )
