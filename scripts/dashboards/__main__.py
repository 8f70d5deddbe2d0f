"""`python -m scripts.dashboards` writes a JSON file of each dashboard."""

from scripts.dashboards.boards import BOARDS, FOLDER
from scripts.dashboards.grafana import written

FOLDER.mkdir(parents=True, exist_ok=True)
for name, board in BOARDS.items():
    (FOLDER / f"{name}.json").write_text(written(board))
