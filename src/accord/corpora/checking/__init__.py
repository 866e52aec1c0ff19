"""Whether data is fit to train on: quality, duplicates, contamination by benchmarks."""

from accord.corpora.checking.check import Checked, Settings, check_rows
from accord.corpora.checking.texts import Texts, texts_of

__all__ = ["Checked", "Settings", "Texts", "check_rows", "texts_of"]
