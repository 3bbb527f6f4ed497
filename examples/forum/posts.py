"""Posts, comments and likes: each is written, and told to Hark as one event, in one transaction."""

import re
from datetime import datetime

from sqlalchemy import ForeignKey, MetaData
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import hark


class Base(DeclarativeBase):
    metadata = MetaData(schema="forum")


class Post(Base):
    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True)
    author: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    at: Mapped[datetime]
    private: Mapped[bool] = mapped_column(default=False)
    deleted: Mapped[bool] = mapped_column(default=False)


class Comment(Base):
    __tablename__ = "comment"
    id: Mapped[int] = mapped_column(primary_key=True)
    post_id: Mapped[int] = mapped_column(ForeignKey(Post.id))
    author: Mapped[str]
    text: Mapped[str]
    at: Mapped[datetime]


class Like(Base):
    __tablename__ = "liked"
    post_id: Mapped[int] = mapped_column(ForeignKey(Post.id), primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)


async def write(session: AsyncSession, me: str, title: str, text: str, now: datetime) -> Post:
    """A post: its author follows it from now on (`auto_subscribe`), and who follows the author hears of it."""
    post = Post(author=me, title=title, text=text, at=now)
    session.add(post)
    await session.flush()
    about, said = f"post:{post.id}", {"title": title, "text": text, "path": f"/posts/{post.id}"}
    whom = [f"person:{me}"]
    await hark.apublish(session, "new_post", entities=whom, actor=me, about=about, payload=said, occurred_at=now)
    return post


async def comment(session: AsyncSession, me: str, post: Post, answers: int | None, text: str, now: datetime) -> None:
    """A reply to a post, or to a comment on it: each reader is told once, of what concerns them most."""
    written = Comment(post_id=post.id, author=me, text=text, at=now)
    session.add(written)
    await session.flush()
    about, path = f"comment:{written.id}", f"/posts/{post.id}#comment-{written.id}"
    said = {"title": post.title, "text": text, "path": path}
    named = sorted({name.lower() for name in re.findall(r"(?<![\w@])@(\w{1,20})", text)})
    of = [f"comment:{answers}", f"post:{post.id}"] if answers else [f"post:{post.id}"]
    await hark.apublish(
        session, "thread_reply", to=named, entities=of, actor=me, about=about, payload=said, key=about, occurred_at=now
    )


async def like(session: AsyncSession, me: str, post: Post, now: datetime) -> None:
    """A like: a second click writes nothing and tells nobody."""
    liked = insert(Like).values(post_id=post.id, person=me).on_conflict_do_nothing().returning(Like.person)
    if await session.scalar(liked) is None or post.author == me:
        return
    about, said = f"post:{post.id}", {"title": post.title, "text": post.text, "path": f"/posts/{post.id}"}
    whom = [post.author]
    await hark.apublish(session, "post_liked", to=whom, actor=me, about=about, payload=said, occurred_at=now)
