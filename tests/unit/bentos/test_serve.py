"""What is checked before a server starts, and what it is started with."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bentos import build, serve
from bentos.settings import read_settings
from cryptoai.core.errors import ConfigError


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_port_in_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the port and the way out, and the code is not zero."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = serve.main(["--bundle", str(tmp_path), "--home", str(tmp_path), "--port", str(port)])
    said = capsys.readouterr().err
    assert code == ConfigError.exit_code
    assert said.count("\n") == 1
    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


@pytest.mark.parametrize("source", [["--bundle", "nothing"], ["--tag", "cryptoai:none"], ["--tag", "cryptoai"]])
def test_what_cannot_be_served_is_one_sentence(
    source: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing bundle or Bento ends before a server is started."""
    monkeypatch.chdir(tmp_path)
    code = serve.main([*source, "--home", str(tmp_path), "--port", str(free_port())])
    said = capsys.readouterr().err
    assert code not in (0, None)
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_settings_travel_by_environment(tmp_path: Path) -> None:
    """A flag becomes the variable that the workers read."""
    options = serve._parser().parse_args(["--bundle", "b", "--home", str(tmp_path), "--max-batch", "3"])
    env = serve.environment(options)
    assert read_settings(env).config.serving.max_batch == 3
    assert env["BENTOML_DO_NOT_TRACK"] == "True"
    assert env["OMP_NUM_THREADS"] == "1"
    assert read_settings(env).bundle == (Path.cwd() / "b").resolve()


def test_a_bad_setting_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Validated before the server starts, by the same tree as everywhere."""
    code = serve.main(["--bundle", "b", "--home", str(tmp_path), "--max-batch", "0"])
    assert code == ConfigError.exit_code
    assert "serving.max_batch" in capsys.readouterr().err


def test_only_what_serves_is_packaged() -> None:
    """Nothing that trades or trains is part of a Bento."""
    assert not {"execution", "training", "deployment", "cli", "risk_engine"} & set(build.SERVED_PACKAGES)


def test_a_refused_bundle_is_not_packaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The build ends with the bundle's own sentence and leaves no store behind."""
    code = build.main(["--bundle", str(tmp_path / "none"), "--home", str(tmp_path / "home")])
    assert code != 0
    assert "no bundle" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_host_is_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """BentoML binds addresses only; a name is refused with an example."""
    code = serve.main(["--bundle", "b", "--home", str(tmp_path), "--host", "localhost"])
    assert code == ConfigError.exit_code
    assert "127.0.0.1" in capsys.readouterr().err


def test_two_servers_do_not_share_a_home(tmp_path: Path) -> None:
    """BentoML wipes the metrics of whoever shares its home."""
    homes = set()
    for port in ("8080", "8090"):
        options = serve._parser().parse_args(["--bundle", "b", "--home", str(tmp_path), "--port", port])
        homes.add(serve.environment(options)["BENTOML_HOME"])
    assert len(homes) == 2
