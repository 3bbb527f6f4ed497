"""The forum's pages: server-rendered, no JavaScript, no passwords (choose who you are: it is an example)."""

import email.policy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.templating import Jinja2Templates
from sqlalchemy import Text, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware.base import RequestResponseEndpoint

from examples.forum import posts
from examples.forum.posts import Comment, Like, Post
from examples.forum.running import HERE, PEOPLE, Forum
from hark import audience, inbox, preferences
from hark.catalogue import Frequency
from hark.errors import BadInput

FOLLOWS = text("select entity, muted from hark.subscription where recipient_id = :me and entity in (:post, :person)")
CHOSEN = text("select frequencies from hark.preference where recipient_id = :me")
PAGES = Jinja2Templates(HERE / "templates")
app = FastAPI(openapi_url=None)


@app.middleware("http")
async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Forms come from our own pages only."""
    if request.method == "POST" and urlsplit(request.headers.get("origin", "")).netloc != request.headers.get("host"):
        return Response("This form did not come from the forum.", status_code=403)
    return await call_next(request)


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody asks for a page or sends a form, in a transaction that is committed before they are answered."""

    request: Request
    forum: Forum
    session: AsyncSession
    me: str
    form: dict[str, str]

    def need(self, name: str) -> str:
        if not self.form.get(name):
            raise HTTPException(422, f"{name.capitalize()} is empty; go back and write something.")
        return self.form[name]

    async def post(self, number: str) -> Post:
        post = await self.session.get(Post, int(number)) if number.isdecimal() and len(number) < 10 else None
        if post is None or post.deleted or (post.private and post.author != self.me):
            raise HTTPException(404, "There is no such post, or it is not for you.")
        return post

    async def page(self, name: str, **given: Any) -> Response:
        unread, zone = await inbox.unread(self.forum.database, self.me), ZoneInfo(PEOPLE[self.me])
        every = {"me": self.me, "now": self.forum.clock.now(), "zone": zone, "unread": unread}
        return PAGES.TemplateResponse(self.request, f"{name}.html", every | given)


async def form_of(request: Request) -> dict[str, str]:
    pairs = parse_qsl((await request.body())[:100_000].decode(errors="replace"))
    return {name: value.replace("\0", "").strip()[:5_000] for name, value in pairs}


async def visit(request: Request) -> AsyncIterator[Visit]:
    forum: Forum = request.app.state.forum
    if (me := request.cookies.get("who", "")) not in PEOPLE:
        raise HTTPException(303, headers={"Location": "/who"})
    async with AsyncSession(forum.engine, expire_on_commit=False) as session, session.begin():
        yield Visit(request, forum, session, me, await form_of(request))


Here = Annotated[Visit, Depends(visit, scope="function")]


def to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)


@app.get("/")
async def front_page(here: Here) -> Response:
    likes = select(func.count()).where(Like.post_id == Post.id).scalar_subquery()
    comments = select(func.count()).where(Comment.post_id == Post.id).scalar_subquery()
    mine = ~Post.deleted & (~Post.private | (Post.author == here.me))
    rows = await here.session.execute(select(Post, likes, comments).where(mine).order_by(Post.id.desc()).limit(50))
    return await here.page("front_page", rows=rows.all())


@app.post("/posts")
async def write(here: Here) -> Response:
    title, now = here.need("title")[:120], here.forum.clock.now()
    post = await posts.write(here.session, here.me, title, here.need("text"), now)
    return to(f"/posts/{post.id}")


@app.get("/posts/{number}")
async def show_post(here: Here, number: str) -> Response:
    post = await here.post(number)
    comments = await here.session.scalars(select(Comment).where(Comment.post_id == post.id).order_by(Comment.id))
    asked = {"me": here.me, "post": f"post:{post.id}", "person": f"person:{post.author}"}
    heard = {row.entity.partition(":")[0]: not row.muted for row in await here.session.execute(FOLLOWS, asked)}
    return await here.page("post", post=post, comments=comments.all(), heard=heard)


@app.post("/posts/{number}/{what}")
async def act(here: Here, number: str, what: str) -> Response:
    """What somebody does about a post."""
    post, form, now, hark = await here.post(number), here.form, here.forum.clock.now(), here.forum.database
    entity = f"person:{post.author}" if form.get("of") == "author" else f"post:{post.id}"
    whom = [audience.Subscription(here.me, entity)]
    match what:
        case "comment":
            named = (Comment.post_id == post.id) & (cast(Comment.id, Text) == form.get("answers"))
            answered = await here.session.scalar(select(Comment.id).where(named))
            await posts.comment(here.session, here.me, post, answered, here.need("text"), now)
        case "like":
            await posts.like(here.session, here.me, post, now)
        case "follow":
            await audience.subscribe(hark, whom, now)
            await audience.mute(hark, whom, now, muted=False)
        case "mute":
            await audience.mute(hark, whom, now)
        case "edit" if post.author == here.me:
            post.text = here.need("text")
        case "hide" | "show" if post.author == here.me:
            post.private = what == "hide"
        case "delete" if post.author == here.me:
            post.deleted = True
            return to("/")
        case _:
            raise HTTPException(403, "That is not for you to do.")
    return to(f"/posts/{post.id}")


@app.get("/inbox")
async def show_inbox(here: Here) -> Response:
    return await here.page("inbox", items=await inbox.listed(here.forum.database, here.me))


@app.post("/inbox")
async def read_all(here: Here) -> Response:
    await inbox.mark_all_read(here.forum.database, here.me, here.forum.clock.now())
    return to("/inbox")


@app.get("/settings")
async def show_settings(here: Here) -> Response:
    chosen, reasons = await here.session.scalar(CHOSEN, {"me": here.me}), here.forum.catalogue.reasons.values()
    return await here.page("settings", reasons=reasons, chosen=chosen or {}, frequencies=Frequency)


@app.post("/settings")
async def choose(here: Here) -> Response:
    for reason, chosen in here.form.items():
        if reason in here.forum.catalogue.reasons and chosen in {*Frequency}:
            frequency, now = Frequency(chosen), here.forum.clock.now()
            try:
                await preferences.choose(here.forum.database, here.me, reason, now, frequency=frequency)
            except BadInput as error:
                raise HTTPException(422, str(error)) from None
    return to("/settings")


@app.get("/mailbox")
async def mailbox(here: Here) -> Response:
    paths = sorted((here.forum.mails / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    mails = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]
    return await here.page("mailbox", mails=[mail for mail in mails if mail["To"] == f"{here.me}@forum.example"])


@app.post("/clock")
async def move_clock(here: Here) -> Response:
    """Skip five minutes, or all until tomorrow at eight where they are; what is due by then is done."""
    morning = here.forum.clock.until_morning(ZoneInfo(PEOPLE[here.me]))
    await here.forum.skip(morning if here.form.get("to") == "morning" else timedelta(minutes=5))
    return to("/mailbox")


@app.get("/who")
async def choose_who(request: Request) -> Response:
    return PAGES.TemplateResponse(request, "who.html", {"people": PEOPLE})


@app.post("/who")
async def be(request: Request) -> Response:
    response, who = to("/"), (await form_of(request)).get("who", "")
    response.set_cookie("who", who if who in PEOPLE else "", httponly=True, samesite="strict")
    return response
