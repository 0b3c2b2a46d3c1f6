"""A small client of the REST API, as a program in the lab would use it."""

from __future__ import annotations

from typing import Any

import httpx


class Problem(Exception):
    """The API answered with an error: ``status`` and the problem's ``body``."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class Api:
    """Requests with one person's token; every answer is the decoded JSON."""

    def __init__(self, address: str, username: str, password: str) -> None:
        self.client = httpx.Client(base_url=f"{address}/api/v1/", timeout=30)
        token = self.post("token/", username=username, password=password)["token"]
        self.client.headers["Authorization"] = f"Token {token}"

    def get(self, path: str, **query: Any) -> Any:
        """Read one resource."""
        return self._answer(self.client.get(path, params=query))

    def post(self, path: str, **body: Any) -> Any:
        """Create something, or do something."""
        return self._answer(self.client.post(path, json=body))

    def patch(self, path: str, **body: Any) -> Any:
        """Change something."""
        return self._answer(self.client.patch(path, json=body))

    def all(self, path: str, **query: Any) -> list[Any]:
        """Read every page of a list."""
        rows, page = [], 1
        while True:
            answer = self.get(path, page=page, page_size=500, **query)
            rows += answer["results"]
            if not answer.get("next"):
                return rows
            page += 1

    @staticmethod
    def _answer(response: httpx.Response) -> Any:
        if response.is_error:
            raise Problem(response.status_code, response.json() if response.content else None)
        return response.json() if response.content else None
