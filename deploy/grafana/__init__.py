"""Defines the Grafana dashboards; `python -m deploy.grafana.build` writes the JSON files beside this one."""
