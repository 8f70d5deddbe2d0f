"""A board as Grafana imports it, by its Foundation SDK."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from scripts.dashboards.board import Board, Panel, Query, Variable

TAG = "modelward"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT = {"number": 4, "lines": 8, "stacked": 8, "table": 8, "heatmap": 8}
JOB = Variable("job", "Job", "label_values(modelward_build_info, job)")
INSTANCE = Variable("instance", "Server", 'label_values(modelward_build_info{job=~"$job"}, instance)')


def written(board: Board) -> str:
    """The file's text."""
    encoded = JSONEncoder(sort_keys=True, indent=1).encode(_built(board).build())
    return json.dumps(json.loads(encoded), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _built(board: Board) -> dashboards.Dashboard:
    built = (
        dashboards.Dashboard(board.title)
        .uid(board.uid)
        .description(board.says)
        .tags([TAG])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(_others())
        .annotation(_alerts())
        .with_variable(dashboards.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for variable in (JOB, INSTANCE, *board.variables):
        built = built.with_variable(_variable(variable))
    numbers = count(1)
    for row in board.rows:
        built = built.with_row(dashboards.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            built = built.with_panel(_panel(panel).id(next(numbers)))
    return built


def _alerts() -> dashboards.AnnotationQuery:
    """Alerts that fire, as marks in every panel."""
    firing = 'ALERTS{alertname=~"Modelward.*",alertstate="firing",job=~"$job"}'
    return dashboards.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(True).icon_color("red").expr(firing)


def _others() -> dashboards.DashboardLink:
    link = dashboards.DashboardLink("Modelward").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.as_dropdown(False).keep_time(True).include_vars(True)


def _variable(variable: Variable) -> dashboards.QueryVariable:
    everything = VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboards.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query(variable.values)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _panel(panel: Panel) -> Any:
    built = _of_kind(panel).title(panel.title).description(panel.says).datasource(SOURCE)
    built = built.unit(panel.unit).span(panel.width).height(HEIGHT[panel.kind]).thresholds(_thresholds(panel))
    for i, query in enumerate(panel.queries):
        built = built.with_target(_target(panel, query, chr(ord("A") + i)))
    return built


def _of_kind(panel: Panel) -> Any:
    match panel.kind:
        case "number":
            return stat.Panel()
        case "table":
            return table.Panel()
        case "heatmap":
            return heatmap.Panel().calculate(False).color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME))
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI)
    lines = timeseries.Panel().legend(legend.show_legend(True)).tooltip(tooltip)
    lines = lines.draw_style(GraphDrawStyle.LINE).show_points(VisibilityMode.NEVER).line_width(1).min(0)
    if panel.kind == "stacked":
        return lines.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30)
    return lines.fill_opacity(5)


def _thresholds(panel: Panel) -> dashboards.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    if panel.bad_from is not None:
        steps.append(Threshold(value=panel.bad_from, color="red"))
    return dashboards.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _target(panel: Panel, query: Query, name: str) -> prometheus.Dataquery:
    built = prometheus.Dataquery().ref_id(name).expr(query.expression).datasource(SOURCE)
    if panel.kind in ("number", "table"):
        built = built.instant()
    if panel.kind == "table":
        return built.format(PromQueryFormat.TABLE)
    if panel.kind == "heatmap":
        return built.format(PromQueryFormat.HEATMAP).legend_format("{{le}}")
    return built.legend_format(query.legend) if query.legend else built
