"""accord deploy --rollback: an alias leads again to what it led to before."""

import argparse
from pathlib import Path

from rich.console import Console

from accord.promotion.aliases import roll_back


def undo_deployment(arguments: list[str]) -> int:
    """Let an alias lead to what it led to before; who serves the file follows."""
    parser = argparse.ArgumentParser(prog="accord deploy", description=undo_deployment.__doc__)
    parser.add_argument("--rollback", action="store_true", help="this; without it, the stage")
    parser.add_argument("--aliases", type=Path, required=True, help="the file of aliases")
    parser.add_argument("--alias", help="which, where the file has several")
    options = parser.parse_args(arguments)
    name, now = roll_back(options.aliases, options.alias)
    Console(soft_wrap=True).print(
        f"alias {name!r} leads to {now.model} again, which went live at {now.deployed_at}",
        markup=False,
        highlight=False,
    )
    return 0
