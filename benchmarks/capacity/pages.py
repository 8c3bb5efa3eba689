"""Writes what the constants say into docs/capacity.md and into the manifests, between their marks."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.answers.servers import REDIS
from benchmarks.capacity.constants import ROLES, Constants
from benchmarks.capacity.plan import CALLS_MAX, Deployment, PodSize, calls_by_core, calls_on_one_core, plan, pod_size
from benchmarks.report import ROOT, table

DOC = ROOT / "docs" / "capacity.md"
MANIFESTS = ROOT / "deploy" / "k8s" / "base"
SIZES = (100, 1_000, 10_000, 100_000)
_RESOURCES = re.compile(
    r"(requests:\s+cpu: )\S+(\s+memory: )\S+(\s+limits:\s+cpu: )\S+(\s+memory: )\S+",
)


def call_table(constants: Constants) -> str:
    """Return what one call costs, by process."""
    rows = [
        [
            name,
            f"{1000 * constants.cores_per_call[name]:.2f}",
            str(calls_by_core(constants, name)),
            f"{constants.idle_mb[name]:.0f}",
            f"{constants.mb_per_call[name]:.2f}",
        ]
        for name in (*ROLES, REDIS)
    ]
    shares = constants.cores_per_call.values()
    memory = sum(constants.mb_per_call.values())
    rows.append(
        ["all", f"{1000 * sum(shares):.1f}", f"{calls_on_one_core(constants)} on one core", "", f"{memory:.2f}"]
    )
    return table(["process", "millicores a call", "calls at 60 % of a core", "MB idle", "MB a call"], rows)


def thousand_table(constants: Constants) -> str:
    """Return Redis and network for 1,000 calls."""
    of = plan(constants, 1000)
    rows = [
        ["commands to Redis a second", f"{of.redis_commands_per_s:,.0f}"],
        ["to and from Redis, Mbit/s", f"{of.redis_mbit_s:.0f}"],
        ["memory of Redis, GB, calls of the last day included", f"{of.redis_gb:.1f}"],
        ["Redis servers (60 % of a core each)", str(of.redis_servers)],
        ["to and from the carrier, Mbit/s", f"{of.carrier_mbit_s:.0f}"],
        ["to and from the vendors, Mbit/s", f"{of.vendors_mbit_s:.0f}"],
        ["calls that begin a second (2 minutes each)", f"{of.starts_per_s:.1f}"],
    ]
    return table(["1,000 calls at the same time", ""], rows)


def size_table(constants: Constants) -> str:
    """Return what 100 to 100,000 calls need."""
    plans = [plan(constants, calls) for calls in SIZES]
    rows = [
        ["pods of each kind", *(str(max(each.members.values())) for each in plans)],
        ["cores used, Redis included", *(f"{sum(each.cores.values()):,.0f}" for each in plans)],
        ["memory used by pods, GB", *(f"{each.memory_gb:,.0f}" for each in plans)],
        ["Redis servers", *(str(each.redis_servers) for each in plans)],
        ["memory of Redis, GB", *(f"{each.redis_gb:,.1f}" for each in plans)],
        ["carrier, Mbit/s", *(f"{each.carrier_mbit_s:,.0f}" for each in plans)],
        ["deployments (cells)", *(str(each.cells) for each in plans)],
    ]
    return table(["calls at the same time", *(f"{calls:,}" for calls in SIZES)], rows)


def source(constants: Constants) -> str:
    """Return what was measured, and how."""
    ratio = f", {constants.ratio:.1f} times the plain forwarder" if constants.ratio else ""
    return (
        f"Measured with {constants.calls} calls of {constants.call_s:g} s{ratio}: `{constants.command}`, commit "
        f"{constants.commit}, {constants.date[:10]}, {constants.cpus} CPUs."
    )


def page_parts(constants: Constants) -> dict[str, str]:
    """Return the text of each mark of docs/capacity.md."""
    return {
        "source": source(constants),
        "call": call_table(constants),
        "thousand": thousand_table(constants),
        "sizes": size_table(constants),
    }


def with_parts(page: str, parts: dict[str, str]) -> str:
    """Return the page with the text between `<!-- name -->` and `<!-- /name -->` replaced.  Raises ValueError."""
    for name, text in parts.items():
        first, last = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        begin = page.index(first) + len(first)
        page = page[:begin] + text + page[page.index(last, begin) :]
    return page


def with_size(manifest: str, size: PodSize) -> str:
    """Return a manifest with these requests and limits."""
    values = (f"{size.cpu_m}m", f"{size.memory_mi}Mi", f'"{size.limit_cpu}"', f"{size.limit_mi}Mi")
    return _RESOURCES.sub(lambda found: "".join(a + b for a, b in zip(found.groups(), values, strict=True)), manifest)


def update(constants: Constants, doc: Path = DOC, manifests: Path = MANIFESTS) -> None:
    """Write the constants' figures into the page and the manifests."""
    doc.write_text(with_parts(doc.read_text("utf-8"), page_parts(constants)), "utf-8")
    for role in ROLES:
        file = manifests / f"{role}.yaml"
        file.write_text(with_size(file.read_text("utf-8"), pod_size(constants, role, CALLS_MAX)), "utf-8")


def plan_page(constants: Constants, asked: Deployment) -> str:
    """Return the plan for one number of calls."""
    rows = [
        [
            role,
            str(asked.members[role]),
            f"{asked.sizes[role].cpu_m}m",
            f"{asked.sizes[role].memory_mi}Mi / {asked.sizes[role].limit_mi}Mi",
            f"{asked.cores[role]:.1f}",
        ]
        for role in ROLES
    ]
    if asked.tools_members:
        rows.append(["tools", str(asked.tools_members), *(["not measured yet"] * 3)])
    lines = [
        f"{asked.calls:,} calls at the same time, CALLS_MAX={asked.calls_max}",
        table(["process", "pods", "CPU request", "memory request / limit", "cores used"], rows),
        f"Redis: {asked.redis_servers} servers, {asked.redis_commands_per_s:,.0f} commands a second, "
        f"{asked.redis_mbit_s:,.0f} Mbit/s, {asked.redis_gb:,.1f} GB.",
        f"Carrier: {asked.carrier_mbit_s:,.0f} Mbit/s; vendors: {asked.vendors_mbit_s:,.0f} Mbit/s; "
        f"{asked.starts_per_s:,.1f} calls begin a second.",
        f"Deployments of their own (cells): {asked.cells}.",
        source(constants),
    ]
    return "\n\n".join(lines)
