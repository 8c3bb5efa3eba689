"""Each process of `make run` is given its own secrets, the same as in its container."""

import pytest

from common.settings import Settings
from tools.own_secrets import ALL, EDGES_POLICY, OWN, own_environment

pytestmark = pytest.mark.fast

FULL = {name: f"value of {name}" for name in Settings.variables()} | {"PATH": "/bin"}


@pytest.mark.parametrize("kind", [*OWN, "valkey"])
def test_a_process_is_given_no_secret_of_another(kind: str) -> None:
    found = own_environment(kind, FULL)
    secrets = {name.removesuffix("_FILE") for name in found} & ALL
    assert secrets == OWN.get(kind, frozenset())
    assert found["PATH"] == "/bin" and found["LOG_LEVEL"]
    assert (EDGES_POLICY in found) == (kind == "edge")


def test_a_worker_starts_without_what_the_edge_checks_signatures_with() -> None:
    given = {"VOBIZ_AUTH_ID": "MA_XXXXXXXX", "VOBIZ_AUTH_TOKEN": "token", EDGES_POLICY: "required"}
    assert Settings.from_env(own_environment("stt", given)).vobiz_auth_token == ""
    assert Settings.from_env(own_environment("edge", given)).signature_policy == "required"
