"""Metrics, traces, logs, costs."""
