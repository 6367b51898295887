"""A small adb daemon over TCP: what a phone with network debugging would run.

The real adb server connects to it with `adb connect 127.0.0.1:PORT`, and the real adb client talks
to that server. It speaks the transport protocol (CNXN, AUTH, OPEN, OKAY, WRTE, CLSE), the shell
protocol v2 (both outputs, exit status, closed input) and the sync service (push and pull). Commands
run in the shell of this computer, with `/data/local/tmp` replaced by a folder. Source: AOSP
packages/modules/adb protocol.txt, shell_protocol.h, SYNC.TXT.
"""

import contextlib
import os
import pathlib
import signal
import socket
import stat
import struct
import subprocess
import threading

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little")
    for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION = 0x01000001  # without checksums
LARGEST_PAYLOAD = 256 * 1024
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
AUTH_TOKEN = 1
SCRATCH = "/data/local/tmp"


class FakePhone:
    """A phone that listens on a port of 127.0.0.1.

    Args:
      root: Folder for its files; `/data/local/tmp` lies in it.
      variables: Environment of its commands.

    Attributes:
      port: Where it listens.
      storage_bytes: Room for pushed files; more fails as on a full phone.
      authorised: Whether it accepts computers.
      answers: Whether it answers at all; False makes it offline.
      commands: Every shell command it was given, as received.
      variables: Environment of its commands; may be changed at any time.
    """

    def __init__(self, root: pathlib.Path, variables: dict[str, str]):
        self.root = root
        self.variables = variables
        self.storage_bytes = 1 << 40
        self.authorised = True
        self.answers = True
        self.commands = []
        self.scratch.mkdir(parents=True)
        self._connections = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def scratch(self) -> pathlib.Path:
        return self.root / SCRATCH[1:]

    def files(self) -> list[str]:
        """What lies in its scratch folder."""
        return sorted(path.name for path in self.scratch.iterdir())

    def translated(self, text: str) -> str:
        """A path or command with the folder of this computer."""
        return text.replace(SCRATCH, str(self.scratch))

    def unplug(self) -> None:
        """Drops all connections; whoever connects again finds the phone offline."""
        self.answers = False
        for connection in list(self._connections):
            connection.drop()

    def close(self) -> None:
        self._listener.close()
        for connection in list(self._connections):
            connection.drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                connection = _Connection(self, client)
                self._connections.append(connection)
                threading.Thread(target=connection.serve, daemon=True).start()


class _Connection:
    """One adb server that is connected."""

    def __init__(self, phone: FakePhone, client: socket.socket):
        self.phone = phone
        self._client = client
        self._lock = threading.Lock()
        self._streams = {}
        self._next = 1

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)
        self._client.close()
        for stream in list(self._streams.values()):
            stream.ended()

    def serve(self) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while True:
                command, first, second, length = self._header()
                self._handle(command, first, second, self._exactly(length))
        self.drop()

    def send(self, command: int, first: int, second: int, payload: bytes = b"") -> None:
        checksum = sum(payload) & 0xFFFFFFFF
        header = struct.pack(
            "<6I", command, first, second, len(payload), checksum, command ^ 0xFFFFFFFF
        )
        with self._lock, contextlib.suppress(OSError):
            self._client.sendall(header + payload)

    def forget(self, local: int) -> None:
        self._streams.pop(local, None)

    def _header(self):
        return struct.unpack("<6I", self._exactly(24))[:4]

    def _exactly(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            part = self._client.recv(length - len(content))
            if not part:
                raise ConnectionError
            content += part
        return bytes(content)

    def _handle(self, command, first, second, payload) -> None:
        if not self.phone.answers:
            return
        if command in (CNXN, AUTH):
            if self.phone.authorised:
                banner = b"device::ro.product.model=Fake;features=shell_v2"
                self.send(CNXN, VERSION, LARGEST_PAYLOAD, banner)
            else:
                self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif command == OPEN:
            service = payload.rstrip(b"\0").decode()
            kinds = {"shell": _Shell, "sync": _Sync}
            kind = kinds.get(service.partition(":")[0].partition(",")[0])
            if kind is None:
                self.send(CLSE, 0, first)
                return
            local, self._next = self._next, self._next + 1
            stream = kind(self, local, first, service)
            self._streams[local] = stream
            self.send(OKAY, local, first)
            stream.start()
        elif command == WRTE and second in self._streams:
            self.send(OKAY, second, first)
            self._streams[second].received(payload)
        elif command == OKAY and second in self._streams:
            self._streams[second].acknowledged()
        elif command == CLSE and second in self._streams:
            self._streams.pop(second).ended()


class _Stream:
    """One open service."""

    def __init__(self, connection: _Connection, local: int, remote: int, service: str):
        self.connection = connection
        self.phone = connection.phone
        self.service = service
        self._local, self._remote = local, remote
        self._ready = threading.Semaphore(1)
        self._buffer = bytearray()
        self._arrived = threading.Condition()
        self._is_open = True

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def write(self, content: bytes) -> None:
        for start in range(0, len(content), LARGEST_PAYLOAD // 4):
            self._ready.acquire()
            if not self._is_open:
                return
            part = content[start : start + LARGEST_PAYLOAD // 4]
            self.connection.send(WRTE, self._local, self._remote, part)

    def read(self, length: int) -> bytes:
        """Exactly so many bytes; fewer at the end."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._buffer) >= length or not self._is_open)
            content = bytes(self._buffer[:length])
            del self._buffer[:length]
            return content

    def received(self, payload: bytes) -> None:
        with self._arrived:
            self._buffer += payload
            self._arrived.notify_all()

    def acknowledged(self) -> None:
        self._ready.release()

    def ended(self) -> None:
        with self._arrived:
            self._is_open = False
            self._arrived.notify_all()
        self._ready.release()

    def _run(self) -> None:
        with contextlib.suppress(OSError, struct.error):
            self.work()
        self.connection.send(CLSE, self._local, self._remote)
        self.connection.forget(self._local)


class _Shell(_Stream):
    """`shell,v2,...:COMMAND`."""

    def work(self) -> None:
        command = self.service.partition(":")[2]
        self.phone.commands.append(command)
        self._process = subprocess.Popen(
            # a phone does not ignore hangups, even where this computer was told to (nohup)
            ["env", "--default-signal=HUP", "sh", "-c", self.phone.translated(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.phone.variables,
            cwd=self.phone.root,
            start_new_session=True,
        )
        readers = [
            threading.Thread(target=self._forward, args=(kind, pipe))
            for kind, pipe in ((STDOUT, self._process.stdout), (STDERR, self._process.stderr))
        ]
        threading.Thread(target=self._feed, daemon=True).start()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        status = self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._packet(EXIT, bytes([128 - status if status < 0 else status]))

    def ended(self) -> None:
        """Tells the command that its client has gone, as adbd does."""
        super().ended()
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGHUP)

    def _forward(self, kind, pipe) -> None:
        with pipe:
            while content := pipe.read1(1 << 16):
                self._packet(kind, content)

    def _feed(self) -> None:
        with contextlib.suppress(OSError, ValueError, struct.error):
            while True:
                kind, length = struct.unpack("<BI", self.read(5))
                content = self.read(length)
                if kind == CLOSE_STDIN:
                    self._process.stdin.close()
                elif kind == STDIN:
                    self._process.stdin.write(content)
                    self._process.stdin.flush()

    def _packet(self, kind: int, content: bytes) -> None:
        self.write(struct.pack("<BI", kind, len(content)) + content)


class _Sync(_Stream):
    """`sync:`, version 1."""

    def work(self) -> None:
        while True:
            request, length = struct.unpack("<4sI", self.read(8))
            if request == b"QUIT":
                return
            argument = self.read(length).decode()
            {b"STAT": self._stat, b"SEND": self._receive, b"RECV": self._send}[request](argument)

    def _path(self, remote: str) -> pathlib.Path:
        return pathlib.Path(self.phone.translated(remote))

    def _stat(self, remote: str) -> None:
        try:
            found = self._path(remote).stat()
            fields = found.st_mode, found.st_size, int(found.st_mtime)
        except OSError:
            fields = 0, 0, 0
        self.write(b"STAT" + struct.pack("<3I", *fields))

    def _receive(self, argument: str) -> None:
        remote, _, mode = argument.rpartition(",")
        path, content = self._path(remote), bytearray()
        while True:
            kind, length = struct.unpack("<4sI", self.read(8))
            if kind == b"DONE":
                break
            content += self.read(length)
        used = sum(file.stat().st_size for file in self.phone.scratch.rglob("*") if file.is_file())
        if used + len(content) > self.phone.storage_bytes:
            self._fail("couldn't write file: No space left on device")
            return
        try:
            path.write_bytes(content)
            path.chmod(stat.S_IMODE(int(mode)))
        except OSError as error:
            self._fail(f"couldn't create file: {error.strerror}")
            return
        self.write(b"OKAY" + struct.pack("<I", 0))

    def _send(self, remote: str) -> None:
        try:
            content = self._path(remote).read_bytes()
        except OSError as error:
            self._fail(f"failed to open: {error.strerror}")
            return
        for start in range(0, len(content), 1 << 16):
            part = content[start : start + (1 << 16)]
            self.write(b"DATA" + struct.pack("<I", len(part)) + part)
        self.write(b"DONE" + struct.pack("<I", 0))

    def _fail(self, message: str) -> None:
        self.write(b"FAIL" + struct.pack("<I", len(message)) + message.encode())
