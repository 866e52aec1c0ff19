"""Counts and times in Prometheus' text format (version 0.0.4)."""

import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What a server counts; may be told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._help: dict[str, tuple[str, str]] = {}
        self._counts: dict[str, dict[_Labels, float]] = {}
        self._times: dict[str, dict[_Labels, list[float]]] = {}
        self._gauges: dict[str, Callable[[], Mapping[_Labels, float]]] = {}

    def counter(self, name: str, text: str) -> None:
        """Declare a number that only grows."""
        self._help[name], self._counts[name] = (text, "counter"), {}

    def histogram(self, name: str, text: str) -> None:
        """Declare times in seconds."""
        self._help[name], self._times[name] = (text, "histogram"), {}

    def gauge(self, name: str, text: str, read: Callable[[], Mapping[_Labels, float]]) -> None:
        """Declare what is read when somebody asks."""
        self._help[name], self._gauges[name] = (text, "gauge"), read

    def add(self, name: str, by: float = 1, **labels: str) -> None:
        """Count."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            counts = self._counts[name]
            counts[key] = counts.get(key, 0) + by

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Observe a time."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            # Counts by bucket, the last beyond all; then the sum.
            cells = self._times[name].setdefault(key, [0.0] * (len(SECONDS) + 2))
            cells[bisect_left(SECONDS, seconds)] += 1
            cells[-1] += seconds

    def render(self) -> str:
        """All of it."""
        lines: list[str] = []
        with self._lock:
            for name, (text, kind) in self._help.items():
                lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
                if kind == "histogram":
                    for labels, cells in self._times[name].items():
                        lines += _histogram(name, labels, cells)
                else:
                    found = self._counts[name] if kind == "counter" else self._gauges[name]()
                    lines += [f"{name}{_shown(key)} {value:g}" for key, value in found.items()]
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: _Labels, cells: Sequence[float]) -> list[str]:
    lines, total = [], 0.0
    for bound, count in zip([*map(str, SECONDS), "+Inf"], cells, strict=False):
        total += count
        lines.append(f"{name}_bucket{_shown((*labels, ('le', bound)))} {total:g}")
    shown = _shown(labels)
    return [*lines, f"{name}_sum{shown} {cells[-1]!r}", f"{name}_count{shown} {total:g}"]


def _shown(labels: _Labels) -> str:
    quoted = (
        f'{name}="' + value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
        for name, value in labels
    )
    found = ",".join(quoted)
    return f"{{{found}}}" if found else ""


def server_metrics() -> Metrics:
    """What `accord serve` counts, but for its gauges."""
    metrics = Metrics()
    metrics.counter("accord_requests_total", "Answers by route, model and status.")
    metrics.counter("accord_generations_total", "Responses by how they ended.")
    metrics.counter("accord_prompt_tokens_total", "Tokens of prompts that were read.")
    metrics.counter("accord_prompt_tokens_cached_total", "Those that had been read before.")
    metrics.counter("accord_generated_tokens_total", "Tokens that were sampled.")
    metrics.counter("accord_alias_changes_total", "Changes of followed aliases, done and failed.")
    metrics.histogram("accord_queue_seconds", "From a request's arrival to its start.")
    metrics.histogram("accord_time_to_first_token_seconds", "From arrival to the first token.")
    metrics.histogram("accord_time_between_tokens_seconds", "Between two tokens of a response.")
    return metrics


class ModelWatch:
    """A `Watch` of requests: writes into the metrics under a model's name."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self._metrics, self._model = metrics, model

    def started(self, waited_s: float) -> None:
        """See `Watch`."""
        self._metrics.time("accord_queue_seconds", waited_s, model=self._model)

    def first_token(self, after_s: float) -> None:
        """See `Watch`."""
        self._metrics.time("accord_time_to_first_token_seconds", after_s, model=self._model)

    def next_token(self, after_s: float) -> None:
        """See `Watch`."""
        self._metrics.time("accord_time_between_tokens_seconds", after_s, model=self._model)

    def ended(self, finish: str, prompt_tokens: int, cached_tokens: int, tokens: int) -> None:
        """See `Watch`."""
        metrics, model = self._metrics, self._model
        metrics.add("accord_generations_total", model=model, finish=finish)
        metrics.add("accord_prompt_tokens_total", prompt_tokens, model=model)
        metrics.add("accord_prompt_tokens_cached_total", cached_tokens, model=model)
        metrics.add("accord_generated_tokens_total", tokens, model=model)
