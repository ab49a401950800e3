"""A small TCP proxy between the workers and the server, which cuts connections just before or just after a COMMIT."""

import contextlib
import random
import socket
import threading
import time


class Proxy:
    """Forwards to a socket of the server's; while `kind` is set, a COMMIT ends the connection with a probability."""

    def __init__(self, target):
        self.target, self.kind, self.cuts = target, None, 0
        self.probability, self.delay = 0.5, 0.0
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listening.close()

    def accept(self):
        """Take connections until it is closed."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                threading.Thread(target=self.connect, args=(client,), daemon=True).start()

    def connect(self, client):
        """Put a client through to the server."""
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.target)
        except OSError:
            client.close()
            return
        pair = Pair(self, client, server)
        threading.Thread(target=pair.answers, daemon=True).start()
        pair.questions()


class Pair:
    """One connection; a pump for each direction, and a cut that ends both."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.swallows = threading.Event()

    def questions(self):
        with contextlib.suppress(OSError):
            while sent := self.client.recv(65536):
                if b"COMMIT" in sent and self.cut(sent):
                    return
                self.server.sendall(sent)
        self.end()

    def answers(self):
        with contextlib.suppress(OSError):
            while sent := self.server.recv(65536):
                if self.swallows.is_set():
                    break
                if self.proxy.delay:
                    time.sleep(self.proxy.delay)
                self.client.sendall(sent)
        self.end()

    def cut(self, sent):
        """Cut here, if it is time to; before the COMMIT is forwarded, or once the server has carried it out."""
        kind = self.proxy.kind
        if kind is None or random.random() > self.proxy.probability:
            return False
        self.proxy.cuts += 1
        if kind == "before":
            self.end()
            return True
        self.swallows.set()
        self.server.sendall(sent)
        return False

    def end(self):
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
