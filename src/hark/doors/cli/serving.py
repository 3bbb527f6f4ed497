"""`hark serve`: everything in one process, the HTTP door and a worker, ended with grace together."""

from __future__ import annotations

import asyncio
from contextlib import closing

from hark.clock import DatabaseClock
from hark.doors.api import build_api
from hark.doors.api.engine import Engine
from hark.doors.api.serving import listen, serve, url_of
from hark.doors.cli.exits import ExitCode
from hark.doors.cli.frame import Call
from hark.doors.cli.logs import log_to_stderr
from hark.doors.cli.stopping import Stop
from hark.doors.cli.working import SPARE_CONNECTIONS, Tally, Work, open_outbound, open_worker

_DOOR_CONNECTIONS = 8


async def run_serve(call: Call, work: Work) -> ExitCode:
    """Serve and work until told to stop. A door that closes ends the worker too, and the other way round."""
    settings = call.settings
    log_to_stderr(settings.log_level)
    call.go_on = "start it again, or a worker: all goes on where it was"
    tally = Tally()
    size = settings.concurrency + SPARE_CONNECTIONS + _DOOR_CONNECTIONS
    with closing(listen(settings)) as listening:
        async with (
            call.session(size=size, install=True) as session,
            open_outbound(settings, session.need_catalogue(), work) as outbound,
        ):
            clock = await DatabaseClock.start(session.database)
            with Stop(call.output) as stop:
                async with open_worker(session, settings, outbound, tally, stop.event, clock) as worker:
                    hook = worker.backfills.webhook if worker.backfills else None
                    backfills = Engine.of(session.database, session.need_catalogue(), settings, clock, hook)
                    app = build_api(session.database, session.need_catalogue(), settings, clock, backfills)
                    call.output.note(f"listening on {url_of(listening)}; GET /openapi.json describes it")
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(serve(app, listening, stop.event))
                        tasks.create_task(worker.run(stop.event))
    call.output.show(tally, [tally.line()])
    return stop.end(call)
