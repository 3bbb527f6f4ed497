"""All routes as one application."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from hark.catalogue import Catalogue
from hark.clock import Clock
from hark.config import Settings
from hark.doors.api.backfills import Backfills
from hark.doors.api.description import Described
from hark.doors.api.door import Door
from hark.doors.api.limits import Discreet, ShortBodies
from hark.doors.api.paths import PathsAsSent
from hark.doors.api.problems import add_handlers
from hark.doors.api.routes import (
    admin_backfill,
    backfill_orders,
    events,
    flags,
    health,
    inbox,
    looking,
    preferences,
    recipients,
    subscriptions,
)
from hark.postgres.database import Database

_ROUTERS = (
    events.router,
    subscriptions.router,
    subscriptions.reading,
    recipients.router,
    recipients.reading,
    preferences.router,
    preferences.reading,
    inbox.router,
    inbox.reading,
    flags.router,
    flags.reading,
    looking.router,
    looking.auditing,
    health.router,
)
_OF_BACKFILLS = (backfill_orders.router, admin_backfill.router)


def build_api(
    database: Database, catalogue: Catalogue, settings: Settings, clock: Clock, backfills: Backfills | None = None
) -> FastAPI:
    """The HTTP door to a database that is up to date and knows the catalogue.

    Args:
        backfills: the engine behind `/admin/backfill`; None: there is no such path.
    """
    app = Described(
        title="Hark",
        summary="Events become the right messages, each sent at most once.",
        version=version("hark"),
        servers=[{"url": f"http://{settings.api_host}:{settings.api_port}"}],
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.door = Door(database, catalogue, settings, clock, backfills)
    for router in (*_ROUTERS, *(_OF_BACKFILLS if backfills is not None else ())):
        app.include_router(router)
    add_handlers(app)
    for middleware in (Discreet, ShortBodies, PathsAsSent):  # the last one is outermost
        app.add_middleware(middleware)
    return app
