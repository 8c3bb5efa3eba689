"""`python -m deploy.k8s.prometheus_rules`: writes the rule files of deploy/prometheus as PrometheusRule objects.

One source for Compose and Kubernetes; `tests/deploy/test_k8s.py` fails if the file on disk is older than the rules.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

SOURCES = Path(__file__).parents[1] / "prometheus"
TARGET = Path(__file__).parent / "components" / "prometheus-operator" / "rules.yaml"
PATTERNS = ("*.rules.yml", "*.alerts.yml")
HEAD = "# Made from deploy/prometheus by `python -m deploy.k8s.prometheus_rules`; change the rules there.\n"


class _Text(yaml.SafeDumper):
    """Render long texts as blocks, which stay readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">" if len(text) > 80 else None)


_Text.add_representer(str, _text)


def rule_objects(documents: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    """Return PrometheusRule objects for rule files (name without suffixes -> document), in the order of the names."""
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name.replace(".", "-")},
            "spec": {"groups": document["groups"]},
        }
        for name, document in sorted(documents.items())
    ]


def rendered(sources: Path = SOURCES) -> str:
    """Return the text of rules.yaml."""
    files = sorted(path for pattern in PATTERNS for path in sources.glob(pattern))
    documents = {path.name.removesuffix(".yml"): yaml.safe_load(path.read_text("utf-8")) for path in files}
    objects = rule_objects(documents)
    return HEAD + yaml.dump_all(objects, Dumper=_Text, sort_keys=False, width=110, allow_unicode=True)


def main() -> int:
    """Write rules.yaml."""
    TARGET.write_text(rendered(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
