"""The one table of settings. Knows names, defaults and limits; knows nothing of what is built from them.

Every field is read from the environment variable of the same name in capitals. The description is what README's table
shows (a test keeps the two equal).
"""

import json
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Words = Annotated[tuple[str, ...], NoDecode]


class SettingsError(Exception):
    """Wrong settings: every fault, one a line."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, case_sensitive=False)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(Path("data"), description="Folder of the embedded Postgres and the secrets made for it.")
    public_url: str = Field("", description="Address that people use, for links; empty: taken from the request.")
    database_url: SecretStr | None = Field(None, description="Postgres with pgvector; unset: an embedded one.")
    database_threads: int = Field(8, ge=1, le=64, description="Threads, and so connections, that run SQL.")
    statement_timeout_s: float = Field(15.0, gt=0, le=600, description="A statement that runs longer is given up.")
    redis_url: SecretStr | None = Field(None, description="Redis for many pods; unset: one pod.")
    time_zone: str = Field("UTC", description="Zone of days: in search, statistics, budgets, retention.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    otlp_endpoint: str | None = Field(None, description="OTLP over HTTP, for traces (`http://host:4318`); unset: none.")
    trace_sample: float = Field(1.0, ge=0, le=1, description="Share of sends that are traced.")

    jwt_secret: SecretStr | None = Field(None, description="HS256 key, 32 bytes or more; made when embedded.")
    jwt_algorithm: Literal["HS256", "RS256", "EdDSA"] = Field("HS256", description="The one algorithm accepted.")
    jwt_private_key: SecretStr | None = Field(None, description="PEM that signs, for RS256 and EdDSA.")
    jwt_public_key: str | None = Field(None, description="PEM that verifies, for RS256 and EdDSA.")
    jwt_issuer: str = Field("maru", min_length=1, description="`iss` of access tokens.")
    jwt_audience: str = Field("maru", min_length=1, description="`aud` of access tokens.")
    access_token_s: int = Field(900, ge=2, le=86400, description="Life of an access token, seconds.")
    refresh_token_s: int = Field(2_592_000, ge=60, description="Life of a session that is not refreshed, seconds.")
    secure_cookies: bool = Field(False, description="Mark the session cookie Secure (behind TLS).")
    registration: Literal["open", "invite", "closed"] = Field("open", description="Who may make an account.")
    allowed_origins: Words = Field((), description="Further origins allowed, separated by commas; `*` for all.")
    trusted_proxies: Words = Field((), description="Addresses or networks whose X-Forwarded-For is believed.")

    openai_api_key: SecretStr | None = Field(None, description="Key for OpenAI or a compatible server.")
    openai_base_url: str | None = Field(None, description="Base URL of a compatible server, with /v1.")
    openai_model: str = Field("gpt-5-mini", min_length=1, max_length=100, description="Default model there.")
    anthropic_api_key: SecretStr | None = Field(None, description="Key for Anthropic.")
    anthropic_base_url: str | None = Field(None, description="Base URL for Anthropic, without /v1.")
    anthropic_model: str = Field("claude-sonnet-5", min_length=1, max_length=100, description="Default model there.")
    default_provider: Literal["openai", "anthropic", "demo"] | None = Field(
        None, description="Provider of rooms that name none; unset: the first with a key or address, else demo."
    )
    fallback_models: Words = Field((), description="`provider:model` tried in turn when one fails before a word.")
    embedding_base_url: str | None = Field(None, description="OpenAI-compatible embeddings endpoint, with /v1.")
    embedding_api_key: SecretStr | None = Field(None, description="Key for embeddings; unset: OPENAI_API_KEY.")
    embedding_model: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Model for embeddings, or `local:` and a folder or package; unset: none.",
    )
    embedding_weights: Words = Field((), description="`model=0.3`: the share of meaning in hybrid search, 0 to 1.")
    retrieval: bool = Field(True, description="Give the bot what was said before, found by search.")
    retrieval_scope: Literal["readers", "room"] = Field(
        "readers", description="From all rooms that every reader of a room may read, or from that room only."
    )
    retrieval_tokens: int = Field(2_000, ge=0, description="Most of a prompt that retrieved messages take, tokens.")
    first_token_timeout_s: float = Field(60.0, gt=0, description="Wait for an answer's first piece, seconds.")
    stall_timeout_s: float = Field(30.0, gt=0, description="Wait for a next piece, seconds.")
    provider_retries: int = Field(2, ge=0, le=10, description="New tries after 429, 5xx, lost connections.")
    max_output_tokens: int = Field(4096, ge=1, description="Longest answer, tokens; 1 or more.")
    prompt_tokens: int = Field(16_000, ge=256, description="Budget for a prompt, tokens (estimated).")
    demo_token_ms: float = Field(15.0, ge=0, description="Pace of the offline demo model, per word.")
    piece_ms: float = Field(30.0, ge=5, le=1000, description="Text of this long is joined into one piece.")
    lease_s: float = Field(10.0, ge=1, description="A worker's lease on an answer, seconds.")
    max_answers_per_pod: int = Field(200, ge=1, description="Answers that run at once on a pod; 1 or more.")
    max_answers_per_user: int = Field(20, ge=0, description="Answers to one user that run at once.")

    prices_file: Path | None = Field(None, description="TOML with what models cost; unset: nothing is known to cost.")
    retention_days: int = Field(0, ge=0, le=36_500, description="Messages are removed after this; 0 keeps them.")

    max_text_chars: int = Field(20_000, ge=0, description="Longest message, code points.")
    max_frame_bytes: int = Field(262_144, ge=0, description="Longer frames are refused; 4 times as long closes.")
    max_body_bytes: int = Field(524_288, ge=1024, description="Longest HTTP body; 1,024 or more.")
    sends_per_10s: int = Field(20, ge=0, description="Sends of a user in any 10 s.")
    max_connections_per_user: int = Field(10, ge=0, description="Sockets of a user.")
    max_rooms_per_connection: int = Field(50, ge=0, description="Rooms that one socket reads.")
    max_bad_frames_per_10s: int = Field(100, ge=0, description="Malformed frames in 10 s before a close.")
    max_unsent_bytes: int = Field(
        1_048_576, ge=65_536, description="Bytes that may wait for a slow client; 65,536 or more."
    )
    login_failures_per_15min: int = Field(10, ge=0, description="Failed log-ins for an account.")
    login_failures_per_address: int = Field(100, ge=0, description="Failed log-ins from an address in 15 min.")
    registrations_per_hour: int = Field(60, ge=0, description="Registrations from an address.")
    ping_interval_s: float = Field(25.0, gt=0, description="Heartbeat of sockets, seconds.")
    ping_timeout_s: float = Field(20.0, gt=0, description="Wait for the answer to a heartbeat, seconds.")
    drain_s: float = Field(10.0, ge=0, description="Time that running answers get at a stop, seconds.")
    drain_grace_s: float = Field(0.0, ge=0, description="Wait after readyz says 503, before sockets close.")

    @field_validator("allowed_origins", "trusted_proxies", "fallback_models", "embedding_weights", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from ipaddress import ip_network

        for word in value:
            ip_network(word, strict=False)
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError(f"{value!r} is no time zone") from None
        return value

    @field_validator("embedding_weights")
    @classmethod
    def _weights(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            model, _, weight = word.rpartition("=")
            try:
                right = bool(model) and 0 <= float(weight) <= 1
            except ValueError:
                right = False
            if not right:
                raise ValueError(f"{word!r} is not `model=` and a number from 0 to 1")
        return value

    @field_validator("fallback_models")
    @classmethod
    def _pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            provider, colon, model = word.partition(":")
            if provider not in ("openai", "anthropic", "demo") or not colon or not model:
                raise ValueError(f"{word!r} is not provider:model")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any, info: Any) -> Any:
        """`OPENAI_API_KEY=` in a .env file means what leaving it out means."""
        if value == "" and info.field_name != "public_url":
            return cls.model_fields[info.field_name].get_default()
        return value

    @model_validator(mode="after")
    def _keys(self) -> "Settings":
        if self.jwt_algorithm == "HS256":
            if self.jwt_secret is not None and len(self.jwt_secret.get_secret_value().encode()) < 32:
                raise ValueError("JWT_SECRET: at least 32 bytes")
            if self.jwt_secret is None and self.database_url is not None:
                raise ValueError("JWT_SECRET: needed with DATABASE_URL, since all pods must share it")
        elif self.jwt_private_key is None or self.jwt_public_key is None:
            raise ValueError(f"JWT_PRIVATE_KEY and JWT_PUBLIC_KEY: needed for {self.jwt_algorithm}")
        return self

    @property
    def secrets(self) -> list[str]:
        """What must be in no log, as it is and as a part of an address."""
        found = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        addresses = [*found, self.otlp_endpoint or "", self.openai_base_url or "", self.anthropic_base_url or ""]
        return [*found, *(password for text in addresses if "://" in text and (password := urlsplit(text).password))]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment.

    Raises SettingsError with every fault, a line each, named as the variable that a person sets.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"][:1]).upper()
            text = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{name}: {text}" if name else text)
        raise SettingsError("\n".join(lines)) from None


def kept_secret(data_dir: Path, name: str, make_bytes: int = 48) -> str:
    """A secret that is made once and kept in `data_dir`, readable by its owner only."""
    path = data_dir / "secrets.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if name not in kept:
        kept[name] = secrets.token_urlsafe(make_bytes)
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(kept))
        fresh.replace(path)
    return kept[name]


def settings_table() -> str:
    """README's table, in Markdown."""
    lines = ["| variable | default | what |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        if default in (None, (), ""):
            shown = ""
        elif isinstance(default, bool):
            shown = f"`{str(default).lower()}`"
        else:
            shown = f"`{default}`"
        lines.append(f"| `{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)
