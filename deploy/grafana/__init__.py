"""The Grafana dashboards, as code: `python -m deploy.grafana.build` writes the JSON files beside this one."""
