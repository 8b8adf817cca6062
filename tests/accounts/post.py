"""A mail server of the simplest kind, on a port of the system's choosing, that takes, refuses or says nothing."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Talk(socketserver.StreamRequestHandler):
    """One connection: enough of RFC 5321 for a client that only wants to hand over a letter."""

    def handle(self) -> None:
        post: Post = self.server.post
        self._say("220 post")
        while line := self.rfile.readline().decode("utf-8", "replace").strip():
            word = line.split(" ", 1)[0].upper()
            if word == "QUIT":
                self._say("221 bye")
                return
            if word == "DATA":
                self._say("354 go on")
                letter = b""
                while (more := self.rfile.readline()) not in (b".\r\n", b""):
                    letter += more
                post.letters.append(letter.decode())
            self._say(post.answers.get(word, "250 fine"))

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Post:
    """`letters` are what came; `answers` says by SMTP verb what is answered instead of “250 fine”."""

    def __init__(self) -> None:
        self.letters: list[str] = []
        self.answers: dict[str, str] = {}
        self.port = 0


@contextmanager
def post_office() -> Iterator[Post]:
    """The server, for as long as the block runs."""
    post = Post()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Talk) as server:
        server.daemon_threads = True
        server.post = post  # type: ignore[attr-defined]
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield post
        finally:
            server.shutdown()
            thread.join()
