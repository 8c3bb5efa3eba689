"""Telemetry: metrics, traces, logs, cost estimates."""
