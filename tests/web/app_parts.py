"""What the app's tests share."""

from typing import Any

ORIGIN = "http://testserver"
PASSWORD = "correct horse battery"


class Clock:
    """A clock that goes where it is told."""

    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def rows(count: int) -> list[dict[str, Any]]:
    """Pairs to be judged, named t0, t1 ..."""
    return [{"prompt": f"q{i}", "responses": ["x", "y"], "id": f"t{i}"} for i in range(count)]
