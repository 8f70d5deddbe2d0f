"""All dashboards, by the name of their file."""

from collections.abc import Mapping

from scripts.dashboards.attack import ATTACK
from scripts.dashboards.board import Board
from scripts.dashboards.model import MODELS
from scripts.dashboards.overview import OVERVIEW
from scripts.dashboards.promotion import PROMOTION
from scripts.dashboards.tenant import TENANT
from scripts.docs import ROOT

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
BOARDS: Mapping[str, Board] = {
    "modelward-overview": OVERVIEW,
    "modelward-model": MODELS,
    "modelward-tenant": TENANT,
    "modelward-promotion": PROMOTION,
    "modelward-attack": ATTACK,
}
