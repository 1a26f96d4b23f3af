"""A server on this machine that also misbehaves, for tests of what downloads."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server.state
        if server.handle:
            return server.handle(self)
        server.requests.append((self.path, self.headers.get("Range")))
        body = server.files.get(self.path)
        status = server.statuses.pop(0) if server.statuses else 200
        if body is None or status >= 400:
            return self.send_error(status if body is not None else 404)
        if status != 200:
            self.send_response(status)
            return self.end_headers()
        tag = f'"{sha256(body)[:8]}"'
        wanted = self.headers.get("Range")
        is_same = server.overlooks or self.headers.get("If-Range") in (None, tag)
        start = int(wanted[6:-1]) if wanted and server.ranges and is_same else 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            return self.end_headers()
        start += server.shift if start else 0
        sent = body[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Connection", "close")  # as is done below, whatever was promised
        if self.path.endswith("/"):  # a page of links, as an index of packages has them
            self.send_header("Content-Type", "text/html")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            pieces = [sent[i : i + 10_000] for i in range(0, len(sent), 10_000)]
            sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        elif server.tells_length:
            self.send_header("Content-Length", str(len(sent)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if server.cuts:
            sent = sent[: server.cuts.pop(0)]
        with suppress(OSError):  # the other end has had enough
            self.wfile.write(sent)
        self.close_connection = True
        return None

    def do_HEAD(self):
        self.server.state.handle(self)

    def log_message(self, *_):
        pass


@contextmanager
def serving() -> Iterator[SimpleNamespace]:
    """A server whose files, answers and cuts (bytes after which a connection ends) the test
    decides; or whose `handle` answers everything.

    ranges: whether it sends a rest; overlooks: also the rest of another file; shift: it then begins
    so many bytes later. chunked, tells_length: how the end of an answer is told.
    """
    state = SimpleNamespace(
        files={},
        requests=[],
        cuts=[],
        statuses=[],
        ranges=True,
        overlooks=False,
        shift=0,
        chunked=False,
        tells_length=True,
        handle=None,
    )
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.state = state
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
