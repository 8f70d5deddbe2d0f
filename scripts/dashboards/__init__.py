"""Grafana's dashboards, from plain data. `python -m scripts.dashboards` writes deploy/grafana/dashboards."""
