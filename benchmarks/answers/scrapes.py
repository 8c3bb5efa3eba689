"""Reads what the stack says of itself: the stages of an answer from /metrics, and Redis's own counters."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

import redis

from benchmarks.redis_server import client

SCRAPE_SECONDS = 5.0
SUMS = ("voice_stage_seconds", "voice_answer_seconds", "voice_clear_seconds")
"""Histograms of the edge whose mean in the window is reported."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """Running totals at one moment: (sum in s, count) by histogram or stage, the model's tokens, Redis's counters."""

    sums: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    redis: Mapping[str, float] = field(default_factory=dict)

    def means_ms(self, before: Scrape) -> dict[str, float]:
        """Return the mean in ms of each histogram since `before`."""
        found = {}
        for name, (total, count) in self.sums.items():
            total_before, count_before = before.sums.get(name, (0.0, 0.0))
            if count > count_before:
                found[name] = 1000 * (total - total_before) / (count - count_before)
        return found

    def tokens_since(self, before: Scrape) -> dict[str, float]:
        """Return the model's tokens since `before`, by what became of them: `used` or `wasted`."""
        return {outcome: count - before.tokens.get(outcome, 0.0) for outcome, count in self.tokens.items()}

    def redis_since(self, before: Scrape) -> dict[str, float]:
        """Return by how much each counter of Redis has grown."""
        return {name: value - before.redis.get(name, 0.0) for name, value in self.redis.items()}


def scrape(edge_metrics_url: str, llm_metrics_url: str, redis_url: str) -> Scrape:
    """Ask the edge, the LLM worker and Redis; what does not answer, or has no URL, is left out."""
    return Scrape(sums(_page(edge_metrics_url)), reply_tokens(_page(llm_metrics_url)), _redis(redis_url))


def _page(url: str) -> str:
    if not url:
        return ""
    try:
        with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as reply:
            text: str = reply.read().decode()
            return text
    except (urllib.error.URLError, TimeoutError):
        return ""


def reply_tokens(text: str) -> dict[str, float]:
    """Return the counts of `voice_reply_tokens_total` in a page of /metrics, by outcome."""
    found = re.findall(r'^voice_reply_tokens_total{outcome="(\w+)"} (\S+)$', text, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


def sums(text: str) -> dict[str, tuple[float, float]]:
    """Return (sum, count) of the histograms in a page of /metrics, those of stages by the stage's name."""
    totals: dict[str, list[float]] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        metric, _, labels = name.partition("{")
        for part, kind in enumerate(("_sum", "_count")):
            if metric.endswith(kind) and metric.removesuffix(kind) in SUMS:
                label = labels.partition('stage="')[2].partition('"')[0] or metric.removesuffix(kind)
                totals.setdefault(label, [0.0, 0.0])[part] = float(value)
    return {label: (total, count) for label, (total, count) in totals.items()}


def _redis(url: str) -> dict[str, float]:
    if not url:
        return {}
    try:
        with client(url) as server:
            stats, memory = server.info("stats"), server.info("memory")
            commands = server.info("commandstats")
    except redis.RedisError:
        return {}
    found = {
        "commands": float(stats["total_commands_processed"]),
        "in_bytes": float(stats["total_net_input_bytes"]),
        "out_bytes": float(stats["total_net_output_bytes"]),
        "used_bytes": float(memory["used_memory"]),
    }
    return found | {name.removeprefix("cmdstat_"): float(each["calls"]) for name, each in commands.items()}
