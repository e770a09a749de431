"""Fetching CamVid: interrupted, continued, refused, offline. Never from the internet."""

import socket
import threading

import _fetch
import camvid
import pytest
from _files import Entry, Manifest, Progress, Trouble

FRAME = "train/train_1.png"


def whole(root, original, manifest):
    """Every file is there, byte for byte, and nothing besides."""
    entries = Manifest.read(manifest).entries
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == set(entries)
    for name in entries:
        assert (root / name).read_bytes() == (original / name).read_bytes()
    return True


def test_a_fetch_lays_out_every_file(run, server, original, manifest):
    code, said = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    assert "3 train, 2 val, 2 test frames of 16x12, labels 0 to 11, every checksum right" in said
    assert "fetched 14/14 files" in said  # progress, in lines as this is no terminal
    assert len(server.requests) == 14


def test_a_second_fetch_asks_for_nothing(run, server):
    run("--url", server.url)
    server.requests.clear()
    code, said = run("--url", server.url)
    assert code == 0 and not server.requests and "CamVid is complete" in said


def test_a_broken_connection_is_continued_where_it_broke(run, server, original, manifest):
    server.faults[FRAME] = ["cut", 503, "cut"]
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    size = (original / FRAME).stat().st_size
    first = (size + 1) // 2
    second = first + (size - first + 1) // 2
    assert server.asked(FRAME) == [None, f"bytes={first}-", f"bytes={first}-", f"bytes={second}-"]


def test_an_interrupted_fetch_is_continued_by_the_next(
    run, server, original, manifest, monkeypatch
):
    """Control-C in the middle of a file: what came is kept, and only the rest is asked for."""
    ask = _fetch.Fetcher._ask

    def interrupted(self, entry, part, progress):
        ask(self, entry, part, progress)
        if entry.path == FRAME:
            raise KeyboardInterrupt

    server.faults[FRAME] = ["cut"]
    monkeypatch.setattr(_fetch.Fetcher, "_ask", interrupted)
    code, said = run("--url", server.url, "--jobs", 1)
    assert code == 130 and "The same command continues" in said
    assert not (run.root / FRAME).exists()
    kept = (run.root / f"{FRAME}.part").stat().st_size
    done = {path.relative_to(run.root).as_posix() for path in run.root.rglob("*.png")}

    monkeypatch.undo()
    server.requests.clear()
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    assert server.asked(FRAME) == [f"bytes={kept}-"]
    assert done and not done & {name for name, _ in server.requests}


def test_a_server_without_ranges_is_served_too(run, server, original, manifest):
    server.faults[FRAME] = ["cut", "whole"]
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)


def test_a_part_that_is_no_beginning_is_thrown_away(run, server, original, manifest):
    part = run.root / f"{FRAME}.part"
    part.parent.mkdir(parents=True)
    size = (original / FRAME).stat().st_size
    for junk in (b"x" * 10, b"x" * size, b"x" * (size + 10)):
        part.write_bytes(junk)
        code, _ = run("--url", server.url)
        assert code == 0 and whole(run.root, original, manifest)
        (run.root / FRAME).unlink()


def test_one_wrong_answer_is_asked_again(run, server, original, manifest):
    server.faults[FRAME] = ["other"]
    server.faults["val/val_0.png"] = ["long"]
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    assert server.asked(FRAME) == [None, None]


def test_a_file_with_another_checksum_is_refused_and_named(run, server):
    server.faults[FRAME] = ["other"] * 9
    code, said = run("--url", server.url)
    assert code == 1 and not (run.root / FRAME).exists()
    assert f"{FRAME}: what comes has another checksum than the manifest says" in said
    assert "--from PATH" in said


def test_a_missing_file_is_named_at_once(run, server):
    server.faults[FRAME] = [404]
    code, said = run("--url", server.url)
    assert code == 1 and f"{FRAME}: the server answers 404" in said and "--from PATH" in said
    assert len(server.asked(FRAME)) == 1


def test_a_server_in_trouble_is_named_after_some_tries(run, server):
    server.faults[FRAME] = [500] * 9
    code, said = run("--url", server.url)
    assert code == 1 and f"{FRAME}: the server answers 500" in said
    assert len(server.asked(FRAME)) == 4


def test_trouble_keeps_what_has_come(run, server, original, manifest):
    server.faults["test/test_1.png"] = [404]
    assert run("--url", server.url)[0] == 1
    code, _ = run("--url", server.url)
    assert code == 0 and whole(run.root, original, manifest)
    assert len(server.asked(FRAME)) == 1


def test_offline_says_how_to_go_on(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, said = run("--url", f"http://127.0.0.1:{port}/CamVid")
    assert code == 1 and "cannot fetch" in said and "refused" in said
    assert "python data_scripts/camvid.py --from PATH" in said


def test_a_silent_server_is_given_up(original, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        fetcher = _fetch.Fetcher(url, tmp_path, hint="Hint.", pause=0, timeout=0.1)
        with pytest.raises(Trouble, match=r"timed out.*Hint\."):
            fetcher.fetch([Entry("a/b.png", 1, "")], Progress("", 1, 1))


def test_only_https_is_trusted(run):
    for url in ("http://example.org/CamVid", "ftp://127.0.0.1/CamVid", "file:///etc"):
        code, said = run("--url", url)
        assert code == 1 and f"expected an https address, not {url}" in said
    assert camvid.URL.startswith("https://")


def test_cut_files_are_fetched_again_and_good_ones_left(run, server, original, manifest):
    run("--url", server.url)
    good = run.root / "val" / "val_0.png"
    before = good.stat()
    cut = run.root / FRAME
    for lost in (1, 20, 100, cut.stat().st_size):
        cut.write_bytes(cut.read_bytes()[:-lost])
        server.requests.clear()
        code, _ = run("--url", server.url)
        assert code == 0 and whole(run.root, original, manifest)
        assert [name for name, _ in server.requests] == [FRAME]
    after = good.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_files_come_side_by_side(run, server, monkeypatch):
    """With several jobs two files are under way at once: each waits for the other."""
    meet = threading.Barrier(2, timeout=20)
    ask = _fetch.Fetcher._ask

    def together(self, entry, part, progress):
        if entry.path in (FRAME, "train/train_2.png"):
            meet.wait()
        ask(self, entry, part, progress)

    monkeypatch.setattr(_fetch.Fetcher, "_ask", together)
    assert run("--url", server.url, "--jobs", 2)[0] == 0
