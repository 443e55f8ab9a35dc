"""The part of the hub's HTTP API that reading a data set needs, on a loopback port.

with LoopbackHub({"me/chat": {"train.jsonl": b"..."}}) as hub:
    os.environ["HF_ENDPOINT"] = hub.url
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Repositories = dict[str, dict[str, bytes]]
_ROUTE = re.compile(
    r"/api/(?:datasets|models)/(?P<name>[^/]+(?:/[^/]+)?)(?:/(?P<what>revision|tree|paths-info)/(?P<rest>.+))?"
)
_FILE = re.compile(r"(?:/datasets)?/(?P<name>[^/]+(?:/[^/]+)?)/resolve/(?P<rev>[^/]+)/(?P<path>.+)")


class LoopbackHub:
    """Serves repositories of data sets and models, given as {name: {path: bytes}}; `gated` ones answer 403 as the hub does."""

    def __init__(self, repositories: Repositories, gated: tuple[str, ...] = ()) -> None:
        self.repositories = repositories
        self.gated = gated
        self.requests: list[str] = []
        self.cut: dict[str, int] = {}  # {path: bytes after which the connection is closed}
        self.ranges: list[tuple[str, int]] = []  # (path, first byte asked for) of every file sent
        hub = self

        class Handler(_Handler):
            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, name: str) -> str:
        """Return the commit of a repository."""
        return hashlib.sha1(repr(sorted(self.repositories[name].items())).encode()).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    served: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        return None

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer()

    def _answer(self) -> None:
        hub = self.served
        hub.requests.append(f"{self.command} {self.path}")
        path = unquote(urlsplit(self.path).path)
        match = _FILE.fullmatch(path) or _ROUTE.fullmatch(path)
        if match is None:
            self._send(404, b"{}")
            return
        parts = match.groupdict()
        name = parts["name"]
        if name not in hub.repositories and "/" in name and name.split("/")[0] in hub.repositories:
            name = name.split("/")[0]
        if name not in hub.repositories:
            self._error(404, "RepoNotFound", "Repository not found")
            return
        commit = hub.commit(name)
        revision = parts.get("rev") or (parts.get("rest") or "main").partition("/")[0]
        if revision not in ("main", commit):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        files = hub.repositories[name]
        if name in hub.gated:
            self._error(403, "GatedRepo", "Access to dataset is restricted")
            return
        if "path" in parts:
            self._file(parts["path"], files.get(parts["path"]), commit)
            return
        if parts["what"] == "tree":
            folder = parts["rest"].partition("/")[2]
            self._tree(files, folder)
            return
        if parts["what"] == "paths-info":
            asked = self._asked()
            found = [_entry(path, files[path]) for path in asked if path in files]
            self._send(200, json.dumps(found).encode())
            return
        info = {
            "id": name, "sha": commit, "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0,
            "lastModified": "2024-01-01T00:00:00.000Z", "siblings": [{"rfilename": path} for path in files],
        }  # fmt: skip
        self._send(200, json.dumps(info).encode())

    def _asked(self) -> list[str]:
        if "json" in (self.headers.get("Content-Type") or ""):
            paths = json.loads(self._body)["paths"]
        else:
            from urllib.parse import parse_qs

            paths = parse_qs(self._body.decode())["paths"]
        return [paths] if isinstance(paths, str) else list(paths)

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        prefix = folder + "/" if folder else ""
        recursive = "recursive=true" in self.path.lower()
        entries: dict[str, dict[str, object]] = {}
        for path, data in files.items():
            if not path.startswith(prefix):
                continue
            steps = path[len(prefix) :].split("/")
            for depth in range(1, len(steps) if recursive else min(2, len(steps))):
                directory = prefix + "/".join(steps[:depth])
                entries[directory] = {"type": "directory", "path": directory, "oid": "0" * 40, "size": 0}
            if recursive or len(steps) == 1:
                entries[path] = _entry(path, data)
        if folder and not entries:
            self._error(404, "EntryNotFound", f"{folder} does not exist")
            return
        self._send(200, json.dumps(list(entries.values())).encode())

    def _file(self, path: str, data: bytes | None, commit: str) -> None:
        if data is None:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if self.command == "GET":
            self.served.ranges.append((path, int(asked.group(1)) if asked else 0))
            if path in self.served.cut and not asked:
                self._send_some(data, self.served.cut[path], headers)
                return
        if not asked:
            self._send(200, data, headers, "application/octet-stream")
            return
        first = int(asked.group(1))
        last = min(int(asked.group(2) or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self._send(416, b"", headers)
            return
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._send(206, data[first : last + 1], headers, "application/octet-stream")

    def _send_some(self, data: bytes, count: int, headers: dict[str, str]) -> None:
        """Promise all of it and break the connection off."""
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[:count])
        self.wfile.flush()
        self.close_connection = True

    def _error(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _entry(path: str, data: bytes) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
