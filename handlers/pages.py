"""HTML pages and static files. Jinja2 with autoescape; no inline script or style, so that the CSP can forbid them."""

import contextlib
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from tornado.web import RequestHandler, StaticFileHandler, url

from config.logs import request_of
from handlers.api.problems import Answering, request_id
from handlers.door import COOKIE
from services.accounts import Identity, is_uuid
from services.container import Services
from services.errors import AuthError, NotFound

ROOT = Path(__file__).parent.parent
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types maru dompurify"
)


def secure(handler: RequestHandler) -> None:
    handler.set_header("Content-Security-Policy", CSP)
    handler.set_header("X-Content-Type-Options", "nosniff")
    handler.set_header("Referrer-Policy", "no-referrer")
    handler.set_header("Cross-Origin-Opener-Policy", "same-origin")
    handler.set_header("Permissions-Policy", "camera=(), microphone=(), geolocation=()")


def language(handler: RequestHandler) -> str:
    """ko or en: what the person chose, else what the browser prefers, else Korean (whom this is for first)."""
    chosen = handler.get_cookie("maru_language")
    if chosen in ("ko", "en"):
        return chosen
    for part in handler.request.headers.get("Accept-Language", "").split(","):
        word = part.split(";")[0].strip().lower()[:2]
        if word in ("ko", "en"):
            return word
    return "ko" if "Accept-Language" not in handler.request.headers else "en"


class Page(Answering):
    def initialize(self, services: Services, templates: Environment, name: str, open_to_all: bool = False) -> None:
        self.services = services
        request_of.set(request_id(self))
        self._templates = templates
        self._name = name
        self._open = open_to_all

    async def _who(self) -> Identity | None:
        cookie = self.request.cookies.get(COOKIE)
        try:
            return await self.services.accounts.by_cookie(cookie.value) if cookie is not None else None
        except AuthError:
            return None

    async def get(self, *path: str) -> None:
        secure(self)
        self.set_header("Cache-Control", "no-store")
        who = await self._who()
        if who is None and not self._open:
            self.redirect("/login?next=" + self.request.path if self.request.path != "/" else "/login")
            return
        if who is not None and self._name == "login.html" and not self.get_query_argument("reset", ""):
            self.redirect(self._next())
            return
        if who is not None and who.role != "admin" and self._name == "admin.html":
            self.set_status(403)
            self.finish(await self._render(who, name="refused.html"))
            return
        self.finish(await self._render(who, *path))

    def _next(self) -> str:
        """Only a path of ours: `//evil.example` is another host, also with a tab in it, which browsers leave out."""
        wanted = self.get_query_argument("next", "/")
        ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
        return wanted if ours else "/"

    async def _render(self, who: Identity | None, *path: str, name: str | None = None) -> str:
        services = self.services
        given = await self._given(who, path[0]) if self._name == "context.html" and who and path else None
        invitation = await services.rooms.invitation(path[0]) if self._name == "invite.html" and path else None
        lang = language(self)
        return self._templates.get_template(name or self._name).render(
            lang=lang,
            t=words(lang) | (words(f"admin_{lang}") if self._name == "admin.html" else {}),
            who=who,
            room_id=path[0] if path and self._name == "chat.html" else None,
            code=path[0] if path and self._name == "invite.html" else None,
            invitation=invitation,
            given=given,
            registration=services.settings.registration,
            setup=services.setup_code is not None,
            next=self._next(),
            commands=reference_commands() if self._name == "docs.html" else None,
        )

    async def _given(self, who: Identity, message_id: str) -> dict[str, Any] | None:
        """What the model was given for an answer, or None (404) for what one may not read."""
        messages = self.services.messages
        try:
            if not is_uuid(message_id):
                raise NotFound("message.not_found", "There is no such message.")
            message = await messages.get(who, message_id)
            _, prompt = await messages.context(who, message_id)
        except NotFound:
            self.set_status(404)
            return None
        sources = []
        for passage in prompt.get("passages", []):
            with contextlib.suppress(NotFound):  # its room was left just now
                sources.append(await messages.get(who, passage["messageId"]))
        return {"message": message, "system": prompt["system"], "turns": prompt["messages"], "sources": sources}


def reference_commands() -> Any:
    from handlers.api.reference import make_asyncapi, make_openapi

    return {"rest": make_openapi(), "sockets": make_asyncapi()}


class Static(Answering, StaticFileHandler):
    """No version in the address, so the browser asks each time (304): old and new modules never mix after a deploy."""

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        if path.endswith(".svg"):
            self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")


def page_routes(services: Services) -> list[Any]:
    templates = Environment(
        loader=FileSystemLoader(ROOT / "templates"), autoescape=select_autoescape(default=True), trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals.update(fingerprint=fingerprint())
    templates.globals["words"] = words

    def page(path: str, name: str, open_to_all: bool = False) -> Any:
        given = {"services": services, "templates": templates, "name": name, "open_to_all": open_to_all}
        return url(path, Page, given)

    return [
        page("/", "chat.html"),
        page("/login", "login.html", open_to_all=True),
        page(r"/r/([^/]+)", "chat.html"),
        page(r"/m/([^/]+)", "context.html"),
        page(r"/i/([^/]+)", "invite.html", open_to_all=True),
        page("/docs", "docs.html", open_to_all=True),
        page("/admin", "admin.html"),
        url(r"/static/(.*)", Static, {"path": str(ROOT / "static")}),
        url(r"/favicon\.ico()", Static, {"path": str(ROOT / "static" / "mark.svg")}),
    ]


@cache
def words(catalogue: str) -> dict[str, Any]:
    """The words of `ko`, `en`, `admin_ko`...: modules that the browser imports, which are JSON behind `export default`."""
    text = (ROOT / "static" / "js" / "words" / f"{catalogue}.js").read_text("utf-8")
    found: dict[str, Any] = json.loads(text.partition("export default")[2].strip().removesuffix(";"))
    return found


def fingerprint() -> str:
    """Of our own scripts: a page that was loaded before a deploy can tell that it is old."""
    found = hashlib.sha256()
    for path in sorted((ROOT / "static" / "js").rglob("*.js")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]
