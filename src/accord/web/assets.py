"""Style sheet and scripts of all pages, to be mounted at /static: no secrets, for anybody."""

from pathlib import Path

from fastapi.staticfiles import StaticFiles

assets = StaticFiles(directory=Path(__file__).parent / "static")
