"""Access tokens (JWT) and opaque secrets. Knows keys, claims and hashes; knows no rows."""

import hashlib
import secrets
import time
from typing import Any, NamedTuple

import jwt

from config.settings import Settings
from services.errors import AuthError


class Claims(NamedTuple):
    user_id: str
    session_id: str
    expires_at: float


class Tokens:
    """Signs and checks access tokens with one pinned algorithm."""

    def __init__(self, settings: Settings, secret: str) -> None:
        self._settings = settings
        self._algorithm = settings.jwt_algorithm
        if self._algorithm == "HS256":
            self._sign: Any = secret.encode()
            self._verify: Any = self._sign
        else:
            assert settings.jwt_private_key is not None
            self._sign = settings.jwt_private_key.get_secret_value()
            self._verify = settings.jwt_public_key

    def issue(self, user_id: str, session_id: str) -> tuple[str, float]:
        """(token, when it expires as seconds since 1970)."""
        now = int(time.time())
        expires_at = now + self._settings.access_token_s
        claims = {
            "sub": user_id,
            "sid": session_id,
            "iat": now,
            "exp": expires_at,
            "iss": self._settings.jwt_issuer,
            "aud": self._settings.jwt_audience,
        }
        return jwt.encode(claims, self._sign, algorithm=self._algorithm), float(expires_at)

    def check(self, token: str) -> Claims:
        """Raises AuthError `auth.expired` or `auth.invalid`."""
        try:
            claims = jwt.decode(
                token,
                self._verify,
                algorithms=[self._algorithm],
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                options={"require": ["sub", "sid", "exp", "iat", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise AuthError("auth.expired", "Your sign-in has run out. Sign in again.") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise invalid_token() from None
        if not isinstance(claims["sub"], str) or not isinstance(claims["sid"], str):
            raise invalid_token()
        return Claims(claims["sub"], claims["sid"], float(claims["exp"]))


def invalid_token() -> AuthError:
    return AuthError("auth.invalid", "That sign-in is not valid. Sign in again.")


def new_secret(prefix: str = "") -> str:
    return prefix + secrets.token_urlsafe(32)


def hashed(secret: str) -> bytes:
    """How opaque secrets are kept. They are long and random, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
