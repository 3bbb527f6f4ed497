"""What /openapi.json says: FastAPI's description, with problems as they are, and a sentence for each route."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from hark.doors.api.problems import schemas


class Described(FastAPI):
    """An application that describes itself."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            whole = super().openapi()
            whole.setdefault("components", {}).setdefault("schemas", {}).update(schemas())
            for methods in whole["paths"].values():
                for operation in methods.values():
                    operation["summary"] = operation["description"].split("\n")[0].partition(": ")[0].rstrip(".")
        return self.openapi_schema or {}
