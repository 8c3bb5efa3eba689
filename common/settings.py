"""Reads all settings of all processes from the environment, once; no other module reads it.

A bad value stops the process with one message that lists every problem (`BadSettings`).  docs/settings.md and
.env.example are checked against the fields below.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from common.process.env_file import EnvFile
from common.redis.url import BadRedisUrl, parse_redis_url
from common.setting_checks import FORMER_NAMES, contradictions, raw_value
from common.telemetry.traces import Collector


class BadSettings(Exception):
    """Settings that cannot be used.  `problems` has one text each, which begins with the variable's name."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["These settings cannot be used:", *(f"  {problem}" for problem in self.problems)]))


@dataclass(frozen=True, slots=True)
class _Rule:
    """How one variable is read and checked."""

    meaning: str
    least: int | None = None
    most: int | None = None
    pattern: str = ""
    expected: str = ""
    secret: bool = False


def _text(default: str, meaning: str, pattern: str = "", expected: str = "", secret: bool = False) -> Any:
    rule = _Rule(meaning, None, None, pattern, expected, secret)
    return field(default=default, repr=not secret, metadata={"rule": rule})


def _number(default: int, meaning: str, least: int, most: int) -> Any:
    return field(default=default, metadata={"rule": _Rule(meaning, least, most)})


_PROVIDERS = r"|[a-z0-9_-]+/[\w.:/+-]+(,\s*[a-z0-9_-]+/[\w.:/+-]+)*"
_PROVIDERS_EXPECTED = '"vendor/model", comma-separated in the order of failover'


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One field per variable: `redis_url` is REDIS_URL.  Port 0 means any free one."""

    redis_url: str = _text(
        "redis://127.0.0.1:6379/0",
        "Redis that connects all processes; `rediss://` for TLS, `redis+sentinel://`, or several (common/redis/url.py)",
        expected="redis://host:port/db",
        secret=True,
    )
    http_host: str = _text("0.0.0.0", "Address on which the edge listens")  # noqa: S104 - a server in a container
    http_port: int = _number(8000, "Port on which the edge listens", 0, 65535)
    http_keepalive_s: int = _number(
        75, "Seconds for which the edge keeps an idle HTTP connection: longer than the proxy before it does", 1, 3600
    )
    metrics_port: int = _number(
        0,
        "Port of a worker's /metrics, /healthz and /readyz; 0 = 9101 (stt), 9102 (llm), 9103 (tts), 9104 (tools)",
        0,
        65535,
    )
    public_url: str = _text(
        "",
        "URL under which Vobiz reaches the edge; unset = taken from each request's Host header",
        r"|https?://[^\s/]+(/\S*)?",
        "https://voice.example.com",
    )
    stt_provider: str = _text(
        "", "Speech to text; unset = deepgram if its key is set, else local", _PROVIDERS, _PROVIDERS_EXPECTED
    )
    llm_provider: str = _text(
        "",
        "Language model; unset = openai if its key or another server of its kind is set, else local",
        _PROVIDERS,
        _PROVIDERS_EXPECTED,
    )
    tts_provider: str = _text(
        "",
        "Text to speech; unset = elevenlabs, openai or deepgram, whose key is set first, else local",
        _PROVIDERS,
        _PROVIDERS_EXPECTED,
    )
    provider_concurrency: str = _text(
        "",
        "How often one process may use a vendor at once, such as `deepgram=50,elevenlabs=10`; unset = without a limit",
        r"|[a-z0-9_-]+=[1-9][0-9]{0,5}(,\s*[a-z0-9_-]+=[1-9][0-9]{0,5})*",
        "vendor=number, comma-separated",
    )
    llm_hedge: str = _text(
        "off",
        "`on`: if the first word is slower than nine of ten lately, ask the next provider of LLM_PROVIDER too",
        r"on|off",
        "on or off",
    )
    openai_api_key: str = _text("", "Key of OpenAI or of the compatible server", secret=True)
    openai_base_url: str = _text(
        "https://api.openai.com/v1", "Any OpenAI-compatible server", r"https?://.+", "https://host/v1"
    )
    deepgram_api_key: str = _text("", "Key of Deepgram (speech to text, text to speech)", secret=True)
    deepgram_base_url: str = _text(
        "wss://api.deepgram.com",
        "Deepgram's server, or one of its regions",
        r"(ws|http)s?://[^\s/?#@]+[^\s?#]*",
        "wss://host",
    )
    elevenlabs_api_key: str = _text("", "Key of ElevenLabs (text to speech)", secret=True)
    elevenlabs_base_url: str = _text(
        "wss://api.elevenlabs.io",
        "ElevenLabs' server, or one of its regions",
        r"(ws|http)s?://[^\s/?#@]+[^\s?#]*",
        "wss://host",
    )
    elevenlabs_voice_id: str = _text("", "Voice of ElevenLabs' for agents that name none; unset = one of its examples")
    cartesia_api_key: str = _text("", "Key of Cartesia (speech to text, text to speech)", secret=True)
    cartesia_base_url: str = _text(
        "wss://api.cartesia.ai", "Cartesia's WebSockets", r"(ws|http)s?://[^\s/?#@]+[^\s?#]*", "wss://host"
    )
    cartesia_voice_id: str = _text("", "Voice of Cartesia's for agents that name none; unset = one of its examples")
    sarvam_api_key: str = _text("", "Key of Sarvam (speech to text, text to speech)", secret=True)
    sarvam_base_url: str = _text(
        "wss://api.sarvam.ai", "Sarvam's WebSockets", r"(ws|http)s?://[^\s/?#@]+[^\s?#]*", "wss://host"
    )
    stream_secret: str = _text(
        "",
        "Signs the token in the stream URL; unset = a random one kept in Redis; `off` = a bare /ws is accepted (tests)",
        r"|off|[^,]{16,}(,[^,]{16,}){0,3}",
        "at least 16 characters (several, to replace one: new,old), or off",
        secret=True,
    )
    vobiz_auth_id: str = _text(
        "", "Auth ID of the Vobiz account", r"|[A-Za-z0-9_-]{1,64}", "an Auth ID such as MA_XXXXXXXX", secret=True
    )
    vobiz_auth_token: str = _text(
        "", "Auth Token of the Vobiz account", r"|[!-~]{1,256}", "an Auth Token without spaces", secret=True
    )
    vobiz_from_number: str = _text(
        "",
        "Number that outbound calls show, one of the account's; not repeated in messages",
        r"|\+?[0-9][0-9 ()-]{3,22}",
        "a number such as +91 12345 67890",
        secret=True,
    )
    vobiz_api_url: str = _text(
        "https://api.vobiz.ai/api/v1", "REST API of Vobiz", r"https?://[^\s/?#@]+[^\s?#]*", "https://host/api/v1"
    )
    vobiz_parent_auth_token: str = _text(
        "",
        "Auth Token of the parent account, if yours is a sub-account",
        r"|[!-~]{1,256}",
        "an Auth Token",
        secret=True,
    )
    vobiz_calls_per_second: int = _number(1, "Outbound calls that the account may start in a second", 1, 1000)
    vobiz_calls_at_once: int = _number(3, "Outbound calls that the account may have at once", 1, 100_000)
    dial_prefixes: str = _text(
        "", "Where may be dialled, such as `+91,+4420`; unset = the country of VOBIZ_FROM_NUMBER, else India"
    )
    dials_per_day: int = _number(2000, "Requests for outbound calls that may leave in a day (UTC)", 1, 10_000_000)
    call_s_max: int = _number(14_400, "No call lasts longer, whatever its agent or request says", 10, 86_400)
    webhook_signatures: str = _text(
        "",
        "`required`, `if-present` or `off`; unset = required once VOBIZ_AUTH_TOKEN is set, else off",
        r"|required|if-present|off",
        "required, if-present or off",
    )
    trusted_proxies: str = _text(
        "",
        "Addresses or networks, comma-separated, whose X-Forwarded-Proto and -Host headers are believed",
        r"|[0-9a-fA-F.:/]+(,\s*[0-9a-fA-F.:/]+)*",
        "such as 10.0.0.0/8, 192.168.1.7",
    )
    api_token: str = _text(
        "",
        "Bearer token of the REST API; unset = on loopback only, or a token is made (edge/http/api_token.py)",
        r"|[ -~]{24,512}",
        "at least 24 characters, such as `openssl rand -hex 32` prints",
        secret=True,
    )
    on_call_secret: str = _text(
        "",
        "Signs the requests to the agents' `on_call` webhooks; unset = none is asked",
        r"|[!-~]{16,256}",
        "at least 16 characters, such as `openssl rand -hex 32` prints",
        secret=True,
    )
    ngrok_auth_token: str = _text(
        "", "Opens a tunnel in `make run`, and uses its URL as PUBLIC_URL (needs the extra `tunnel`)", secret=True
    )
    agents_dir: str = _text("agents", "Folder of agent files")
    data_dir: str = _text("data", "Folder of what `make run` keeps when it ends: the included Redis's append-only file")
    calls_max: int = _number(50, "Calls that one process takes at once", 1, 10_000)
    when_busy: str = _text(
        "apology",
        "What a caller meets whom we cannot take: an `apology`, or the carrier's `reject` or `busy`",
        r"apology|reject|busy",
        "apology, reject or busy",
    )
    answer_xml: str = _text(
        "text",
        "How the stream stands in our answer: its URL as the element's `text`, or `connect`: the guide's other form",
        r"text|connect",
        "text or connect",
    )
    shed_lag_ms: int = _number(100, "An edge whose event loop is later than this takes no new calls; 0 = any", 0, 1000)
    call_retention_s: int = _number(86_400, "Seconds for which an ended call can still be read", 60, 31_536_000)
    playout_lead_ms: int = _number(200, "How far ahead of real time audio is sent to the carrier", 40, 1000)
    drain_seconds: int = _number(30, "After SIGTERM: how long an edge waits for its calls to end", 0, 86_400)
    offer_wait_ms: int = _number(
        4000,
        "How long a new call waits for a member of each pool before the caller hears the apology; 0 = for ever, and"
        " the edge answers calls without any worker",
        0,
        60_000,
    )
    takeover_wait_ms: int = _number(
        15_000, "How long a call that lost its worker waits for the next one before it ends with the apology", 0, 60_000
    )
    bus_flush_ms: int = _number(
        1,
        "How long audio is gathered into one write, up to three times longer while there is much; 0 = not at all",
        0,
        20,
    )
    bus_pause_ms: int = _number(
        1, "Pause of a reader between two reads, up to six times longer while there is much; 0 = none", 0, 50
    )
    lease_ms: int = _number(700, "Life of a worker's lease on its calls, renewed every third of it", 300, 30_000)
    otel_exporter_otlp_endpoint: str = _text(
        "",
        "OpenTelemetry collector that gets the traces, by OTLP over HTTP; unset = no traces",
        r"|https?://[^\s/?#@]+[^\s?#]*",
        "http://host:4318",
    )
    otel_exporter_otlp_headers: str = _text(
        "",
        "Headers that the collector wants, such as `authorization=Bearer%20…`",
        r"|[^=,\s]+=[^,]*(,[^=,]+=[^,]*)*",
        "name=value, comma-separated",
        secret=True,
    )
    otel_traces_sampler_arg: str = _text(
        "1", "Share of the turns that are traced", r"0|1|1\.0+|0?\.[0-9]{1,9}", "a number from 0 to 1"
    )
    log_level: str = _text(
        "INFO", "Least level that is logged", r"DEBUG|INFO|WARNING|ERROR", "DEBUG, INFO, WARNING or ERROR"
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read every field; an empty variable counts as unset.  Raises BadSettings.

        A secret may be in a file that `<NAME>_FILE` names, as Docker and Kubernetes provide it.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for item in fields(cls):
            try:
                raw = raw_value(environ, item.name.upper(), item.metadata["rule"].secret)
                if not raw:
                    continue
                values[item.name] = _read(item.name, raw, item.metadata["rule"], item.default)
            except ValueError as error:
                problems.append(str(error))
        problems += contradictions({**{item.name: item.default for item in fields(cls)}, **values})
        if problems:
            raise BadSettings(problems)
        return cls(**values)

    @classmethod
    def for_command(cls, environ: Mapping[str, str] = os.environ, file: EnvFile | None = None) -> Self:
        """Read the settings of a command that a person types: the environment first, then the repository's `.env`.

        Raises BadSettings, with the line of the file for each problem that comes from it.
        """
        file = file if file is not None else EnvFile.read()
        try:
            return cls.from_env(file.merged(environ))
        except BadSettings as error:
            raise BadSettings(file.located(problem, environ) for problem in error.problems) from None

    @classmethod
    def variables(cls) -> frozenset[str]:
        """The name of every variable that is read, with `<NAME>_FILE` for each secret and the former names."""
        names = {item.name.upper() for item in fields(cls)} | set(FORMER_NAMES.values())
        return frozenset(names | {f"{item.name.upper()}_FILE" for item in fields(cls) if item.metadata["rule"].secret})

    def as_environment(self) -> dict[str, str]:
        """The settings that differ from their defaults, by variable name, for provider engines that read them by name.

        A secret from a file is included, so that the environment is not read a second time.
        """
        given = ((item.name, getattr(self, item.name), item.default) for item in fields(self))
        return {name.upper(): str(value) for name, value, default in given if value != default}

    def providers(self, pool: str, agent_choice: tuple[str, ...] = ()) -> list[str]:
        """The providers of a pool in failover order: the agent's, else the deployment's, else the default."""
        if agent_choice:
            return list(agent_choice)
        chosen = {"stt": self.stt_provider, "llm": self.llm_provider, "tts": self.tts_provider}[pool]
        if chosen:
            return [spec.strip() for spec in chosen.split(",")]
        if pool == "stt" and self.deepgram_api_key:
            return ["deepgram/nova-3"]
        if pool == "llm" and (self.openai_api_key or not self._is_openai):
            return ["openai/gpt-4o-mini"]
        if pool == "tts" and (spec := self._paid_voice):
            return [spec]
        return [{"stt": "local/whisper-tiny.en", "llm": "local/receptionist", "tts": "local/piper"}[pool]]

    @property
    def _paid_voice(self) -> str:
        if self.elevenlabs_api_key:
            return "elevenlabs/eleven_flash_v2_5"
        # A compatible chat server rarely synthesizes speech.
        if self.openai_api_key and self._is_openai:
            return "openai/gpt-4o-mini-tts"
        return "deepgram/aura-2-thalia-en" if self.deepgram_api_key else ""

    @property
    def _is_openai(self) -> bool:
        """Whether OPENAI_BASE_URL is OpenAI's own and no compatible server."""
        try:
            return urlsplit(self.openai_base_url).hostname == "api.openai.com"
        except ValueError:
            return False  # no URL; the provider reports it

    @property
    def agents_folder(self) -> Path:
        """AGENTS_DIR; a relative one is looked for in the current folder, then in the folder of the program."""
        here = Path(self.agents_dir)
        return here if here.is_absolute() or here.is_dir() else Path(__file__).resolve().parents[1] / here

    @property
    def concurrency_max(self) -> dict[str, int]:
        """PROVIDER_CONCURRENCY as a mapping: vendor -> how many requests or streams one process may have open."""
        pairs = (part.split("=") for part in self.provider_concurrency.split(",") if part.strip())
        return {vendor.strip(): int(number) for vendor, number in pairs}

    @property
    def collector(self) -> Collector:
        """The collector of traces, from the three variables of OpenTelemetry."""
        pairs = (part.partition("=") for part in self.otel_exporter_otlp_headers.split(",") if part.strip())
        headers = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        return Collector(self.otel_exporter_otlp_endpoint, headers, float(self.otel_traces_sampler_arg))

    @property
    def signature_policy(self) -> str:
        """WEBHOOK_SIGNATURES, or the default that follows from VOBIZ_AUTH_TOKEN."""
        return self.webhook_signatures or ("required" if self.vobiz_auth_token else "off")

    @property
    def can_dial(self) -> bool:
        """Whether all settings of outbound calls are present."""
        return bool(self.vobiz_auth_id and self.vobiz_auth_token and self.public_url)

    @property
    def redis_target(self) -> str:
        """The servers' addresses without user and password, fit for logs."""
        return " and ".join(map(str, parse_redis_url(self.redis_url)))


def _read(name: str, raw: str, rule: _Rule, default: Any) -> Any:
    variable = name.upper()
    if isinstance(default, int):
        if not re.fullmatch(r"-?[0-9]{1,12}", raw) or not rule.least <= int(raw) <= rule.most:  # type: ignore[operator]
            raise ValueError(f"{variable}: expected a whole number from {rule.least} to {rule.most}, got {raw!r}")
        return int(raw)
    if rule.pattern and not re.fullmatch(rule.pattern, raw):
        got = "something else" if rule.secret else repr(raw)
        raise ValueError(f"{variable}: expected {rule.expected}, got {got}")
    if name == "redis_url":
        try:
            parse_redis_url(raw)
        except BadRedisUrl as error:
            raise ValueError(f"{variable}: expected {rule.expected}, got {error}") from None
    return raw
