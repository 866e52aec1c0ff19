"""The knobs of stages that read the preference store."""

from accord.core.config import StageConfig
from accord.core.types import Aggregation


class StoreConfig(StageConfig):
    """Where standing judgements are, and how they become comparisons."""

    project: str | None = None
    """take the standing judgements of this project of the preference store, and nothing else"""
    database: str | None = None
    """the store: a SQLite file or an SQLAlchemy URL (default: ACCORD_DATABASE_URL, where a URL
    with a password belongs: configs are written to disk)"""
    aggregation: Aggregation = "majority"
    """from several judgements of a pair to one probability: the smoothed share of the votes, or
    with annotators weighed by what the votes say of them; _by_side undoes a taste for the left"""
