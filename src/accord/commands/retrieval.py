"""accord data index: documents made ready to be searched, in one file."""

import argparse
from pathlib import Path

from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError


def index(arguments: list[str]) -> int:
    """Write an index of documents for --documents: words, and with --model vectors beside them."""
    parser = argparse.ArgumentParser(prog="accord data index", description=index.__doc__)
    parser.add_argument("documents", help="a folder of texts, or rows with title and text")
    parser.add_argument("--output", type=Path, required=True, help="the index, a new file")
    parser.add_argument("--model", help="by whose vectors it is searched, too")
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise ConfigError(f"{options.output} is there already; name a new file")
    from accord.environments.documents import load_documents, passages_of
    from accord.environments.index import build_index
    from accord.environments.named import embedder_of

    documents = load_documents(options.documents)
    passages = passages_of(documents)
    model = None if options.model is None else str(resolve_asset(options.model))
    build_index(options.output, passages, embedder_of(model))
    print(f"{options.output}: {len(passages)} passages of {len(documents)} documents")
    return 0
