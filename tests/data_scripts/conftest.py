"""A made-up CamVid of a few tiny frames, its manifest, and a server on this machine."""

import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "data_scripts"))

import camvid

FOLDERS = ("train", "trainannot", "val", "valannot", "test", "testannot")
SIZE = (16, 12)


@pytest.fixture(scope="session")
def original(tmp_path_factory) -> Path:
    """The right files: 3 + 2 + 2 frames with their labels."""
    root = tmp_path_factory.mktemp("made-up") / "CamVid"
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2), ("test", 2)):
        for folder, shape, high in ((split, (12, 16, 3), 256), (f"{split}annot", (12, 16), 12)):
            (root / folder).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, high, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{split}_{i}.png")
    return root


@pytest.fixture(scope="session")
def manifest(original, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("list") / "manifest.txt"
    described = camvid.describe(original, SIZE, 11, FOLDERS)
    path.write_text("# made up\n" + described.text(), encoding="utf-8")
    return path


@pytest.fixture
def run(manifest, tmp_path, capfd):
    """Run the script; gives its exit code and what it said."""

    def run(*arguments, to=tmp_path / "camvid", list_=manifest):
        words = ["--to", to, "--manifest", list_, "--pause", 0, *arguments]
        code = camvid.main([str(word) for word in words])
        said = capfd.readouterr()
        return code, said.out + said.err

    run.root = tmp_path / "camvid"
    return run


class Server:
    """Serves a folder, knows ranges, and does wrong what it is told, once per entry.

    ``faults[path]`` is a list of: an error status; "cut" (half of what was asked, then the line
    goes dead); "whole" (ranges ignored); "other" (one byte changed); "long" (too much).
    """

    def __init__(self, folder: Path):
        self.faults, self.requests = defaultdict(list), []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/CamVid/")
                asked = self.headers["Range"]
                server.requests.append((name, asked))
                fault = server.faults[name].pop(0) if server.faults[name] else None
                if isinstance(fault, int):
                    return self.send_error(fault)
                if not (folder / name).is_file():
                    return self.send_error(404)
                content = (folder / name).read_bytes()
                if fault == "other":
                    content = content[:-1] + bytes([content[-1] ^ 1])
                if fault == "long":
                    content += b"more"
                start = 0
                if asked and fault != "whole":
                    start = int(asked.removeprefix("bytes=").rstrip("-"))
                    if start >= len(content):
                        return self.send_error(416)
                    self.send_response(206)
                    self.send_header(
                        "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                    )
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                rest = content[start:]
                self.wfile.write(rest[: (len(rest) + 1) // 2] if fault == "cut" else rest)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # a client that hangs up is no news
        self.url = f"http://127.0.0.1:{self.http.server_port}/CamVid"
        Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def asked(self, name: str) -> list[str | None]:
        """The ranges asked of a file, in order."""
        return [asked for path, asked in self.requests if path == name]


@pytest.fixture
def server(original):
    server = Server(original)
    yield server
    server.http.shutdown()
    server.http.server_close()
