"""The real server: a trained bundle, packaged by BentoML, served in its own process, asked by the bot's own client."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from bentos.build import SERVED_PACKAGES
from bentos.serve import main as serve
from cryptoai.core.bundle import verify_bundle
from cryptoai.core.state import StateVector
from cryptoai.data_universe.schema import SCHEMA_HASH, WIDTH
from cryptoai.execution.adapters.http_model import HttpModel, request_body

ROOT = Path(__file__).resolve().parents[2]
READY_S = 45.0


@dataclass
class Running:
    url: str
    tag: str
    home: Path
    process: subprocess.Popen[bytes]


def state(i: int) -> StateVector:
    values = np.random.default_rng(i).normal(size=WIDTH)
    mask = [not 128 <= f < 168 for f in range(WIDTH)]
    return StateVector.of("binance_usdm:BTCUSDT", (i, i), SCHEMA_HASH, values.tolist(), mask)


HISTORY = [state(i) for i in range(4)]


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


@pytest.fixture(scope="module")
def running(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Built and served as `cryptoai demo` does it, on a free port, gone with the module."""
    home = tmp_path_factory.mktemp("bento")
    built = subprocess.run(
        command("bentos.build", "--bundle", tiny_bundle, "--home", home),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    tag = built.stdout.strip().splitlines()[-1]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ("--tag", tag, "--home", home, "--port", port, "--max-body-bytes", 200_000, "--deadline-ms", 5000)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command("bentos.serve", *arguments), cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await(f"http://127.0.0.1:{port}", process, home / "log")
        yield Running(f"http://127.0.0.1:{port}", tag, home, process)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Politely first: the workers are in groups of their own."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    pause = threading.Event()
    with HttpModel(url, 1.0) as model:
        for _ in range(int(READY_S / 0.1)):
            if model.ready():
                return
            assert process.poll() is None, log.read_text()
            pause.wait(0.1)
    raise AssertionError(f"not ready after {READY_S} s: {log.read_text()}")


def test_the_bento_holds_the_bundle_and_nothing_that_trades(running: Running, tiny_bundle: Path) -> None:
    """The packaged bundle verifies to the same revision; of cryptoai only what serves is inside."""
    source = running.home / "bentos" / running.tag.replace(":", "/") / "src"
    assert verify_bundle(source / "models" / "bundle").revision == verify_bundle(tiny_bundle).revision
    assert {p.name for p in (source / "cryptoai").iterdir() if p.is_dir()} == set(SERVED_PACKAGES)


def test_the_server_says_what_the_engine_says(running: Running, tiny_bundle: Path) -> None:
    """Over HTTP and in this process: the same answer, and the same bytes each time."""
    from cryptoai.decision_engine.inference import InferenceEngine

    engine = InferenceEngine.load(tiny_bundle)
    with HttpModel(running.url, 5.0, engine.revision) as model:
        answers = {model.decide(HISTORY).model_dump_json() for _ in range(3)}
        short = model.decide(HISTORY[-1:])
    assert answers == {engine.decide(HISTORY).model_dump_json()}
    assert short == engine.decide(HISTORY[-1:])


def test_a_batch_is_what_its_items_are(running: Running) -> None:
    """An answer does not depend on what else was asked."""
    one = json.loads(request_body(HISTORY))
    other = json.loads(request_body(HISTORY[:2]))
    batch = httpx.post(f"{running.url}/infer", json={"batch": [one, other]}, timeout=10).json()["batch"]
    single = [httpx.post(f"{running.url}/infer", json=item, timeout=10).json() for item in (one, other)]
    assert batch == single


def test_bad_requests_are_refused_by_path(running: Running) -> None:
    """NaN as Python writes it, another schema, too large; the server goes on."""
    raw = json.loads(request_body(HISTORY))
    raw["history"][3][17] = float("nan")
    refused = httpx.post(f"{running.url}/infer", content=json.dumps(raw))
    assert (refused.status_code, refused.json()["path"]) == (422, "history[3][17]")
    old = httpx.post(f"{running.url}/infer", json=json.loads(request_body(HISTORY)) | {"schema_hash": "old"})
    assert (old.status_code, SCHEMA_HASH in old.text) == (422, True)
    assert httpx.post(f"{running.url}/infer", content=b" " * 200_001).status_code == 413
    with HttpModel(running.url, 5.0) as model:
        assert model.ready()


def test_metrics_count_what_was_asked(running: Running) -> None:
    """BentoML's own endpoint carries ours."""
    with HttpModel(running.url, 5.0) as model:
        before = _metric(running, 'cryptoai_inference_requests_total{outcome="ok"}')
        model.decide(HISTORY)
    assert _metric(running, 'cryptoai_inference_requests_total{outcome="ok"}') == before + 1
    assert _metric(running, "cryptoai_inference_ready") == 1


def _metric(running: Running, name: str) -> float:
    lines = httpx.get(f"{running.url}/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def test_probes_are_there(running: Running) -> None:
    """For the kubelet, and for a person who wants to know which bundle answers."""
    assert [httpx.get(f"{running.url}/{path}").status_code for path in ("livez", "readyz")] == [200, 200]
    health = httpx.get(f"{running.url}/health").json()
    assert (health["status"], health["schema_hash"]) == ("ok", SCHEMA_HASH)


def test_the_port_is_defended(running: Running, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second server on the port ends in one sentence."""
    port = running.url.rsplit(":", 1)[1]
    code = serve(["--bundle", str(tiny_bundle), "--home", str(running.home), "--port", port])
    assert code != 0
    assert port in capsys.readouterr().err


def test_a_flipped_byte_is_refused(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started, naming the file."""
    copy = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, copy)
    damaged = bytearray((copy / "policy.safetensors").read_bytes())
    damaged[-1] ^= 1
    (copy / "policy.safetensors").write_bytes(damaged)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert serve(["--bundle", str(copy), "--home", str(tmp_path / "home"), "--port", str(port)]) != 0
    assert "policy.safetensors was changed" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_process_is_left(running: Running, how: signal.Signals) -> None:
    """Servers of their own; a worker follows even a supervisor that was killed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = running.home / f"{how.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command("bentos.serve", "--tag", running.tag, "--home", running.home, "--port", port),
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    family: list[psutil.Process] = []
    try:
        _await(f"http://127.0.0.1:{port}", process, log)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(how)
        process.wait(20)
        _, left = psutil.wait_procs(family, timeout=15)
        assert not left
    finally:
        _end(process)
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
