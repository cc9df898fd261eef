"""What deploys the service, and what the documentation says of it, is true of the program."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml

import napari_cellsam
from napari_cellsam.cli import app
from napari_cellsam.service.core import Service
from napari_cellsam.service.limits import Limits
from napari_cellsam.service.messages import LimitsInfo, ServiceInfo
from napari_cellsam.service.model_pool import ModelPool
from napari_cellsam.service.observing import Metrics
from napari_cellsam.service.serve import listening

_ROOT = Path(__file__).resolve().parents[1]
_DEPLOY = _ROOT / "deploy"
_PAGES = ("remote-server.md", "service.md")
_LAST_STEP_S = 10  # that closing a service may take after its grace
_MIB = 2**20
_USAGE_ERROR = typer.BadParameter.__mro__[1]  # of click, which typer may have a copy of


def page(name: str = "remote-server.md") -> str:
    return (_ROOT / "docs" / name).read_text(encoding="utf-8")


def parse(arguments: list[str]) -> dict[str, object]:
    """Return what the command line makes of arguments, without doing it; a usage error is raised."""
    command, names, rest = typer.main.get_command(app), ["napari-cellsam"], arguments
    while hasattr(command, "commands"):
        command, names, rest = command.commands[rest[0]], [*names, rest[0]], rest[1:]
    return command.make_context(" ".join(names), list(rest)).params


def options_of(name: str) -> dict[str, object]:
    """Return the options of a command, and their defaults."""
    command = typer.main.get_command(app).commands[name]
    return {option: one.default for one in command.params for option in one.opts if option.startswith("--")}


def commands_in(text: str) -> list[list[str]]:
    """Return the arguments of each call of napari-cellsam in the shell examples of a text."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for number, word in enumerate(words):
                # not the name of a user, a unit or an image
                if Path(word).name == "napari-cellsam" and words[number + 1 : number + 2] and is_command(words, number):
                    found.append(words[number + 1 :])
    return found


def is_command(words: list[str], number: int) -> bool:
    return words[number + 1] in typer.main.get_command(app).commands and words[0] != "docker"


def instructions() -> dict[str, list[str]]:
    """Return what the Dockerfile says, by instruction."""
    text = re.sub(r"^\s*#.*\n", "", (_DEPLOY / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = defaultdict(list)
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if name:
            found[name].append(rest.strip())
    return found


def unit(*drop_ins: str) -> dict[str, list[str]]:
    """Return what a systemd unit says in its section Service."""
    said = defaultdict(list)
    for path in (_DEPLOY / "napari-cellsam.service", *(_DEPLOY / name for name in drop_ins)):
        section = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and not line.startswith("#"):
                name, _, value = line.partition("=")
                said[name].append(value)
    return said


def started(said: dict[str, list[str]], instance: str = "") -> list[str]:
    """Return the arguments with which a unit starts the program."""
    variables = dict(entry.partition("=")[::2] for line in said["Environment"] for entry in shlex.split(line))
    [line] = said["ExecStart"]
    for name, value in variables.items():
        line = line.replace(f"${{{name}}}", value).replace(f"${name}", value)
    program, *arguments = shlex.split(line.replace("%i", instance))
    assert program == "/opt/napari-cellsam/bin/napari-cellsam"
    return arguments


@cache
def messages() -> list[str]:
    """Return every text in the package, with … where something is filled in."""
    found = []
    for path in Path(napari_cellsam.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.replace("%s", "…"))
    return found


@pytest.mark.parametrize("arguments", [["serve", "--no-such-option"], ["serve", "--device"], ["serve", "--port", "x"]])
def test_arguments_that_the_program_does_not_take_are_found_out(arguments: list[str]) -> None:
    with pytest.raises(_USAGE_ERROR):
        parse(arguments)


def test_the_container_starts_a_service_that_other_containers_reach() -> None:
    said = instructions()
    assert json.loads(said["ENTRYPOINT"][0]) == ["napari-cellsam"]
    options = parse(json.loads(said["CMD"][0]))
    assert options["host"] == "0.0.0.0"
    assert [str(options["port"])] == said["EXPOSE"]
    assert options["device"] == "cuda"  # no silent fall to the processor


def test_the_container_does_not_run_as_root() -> None:
    text = (_DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    user = instructions()["USER"][-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.partition(':')[0]} " in text
    assert text.index("\nUSER") > text.rindex("\nRUN")


def test_the_container_is_built_from_files_that_there_are() -> None:
    kept = re.findall(r"^!(.+)$", (_DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"pyproject.toml", "src", "README.md", "LICENSE"} <= set(kept)
    assert all((_ROOT / name).exists() for name in kept)


def test_the_health_check_of_the_container_passes_while_a_service_listens() -> None:
    [check] = instructions()["HEALTHCHECK"]
    _, _, code = json.loads(check.partition("CMD ")[2])
    with Service(ModelPool(["compact"], "cpu")) as service, listening(service, ["x" * 16]) as server:
        assert "8765" in code
        code = code.replace("8765", str(server.port))
        assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True)
    assert ended.returncode == 1


@pytest.mark.parametrize(
    ("drop_ins", "instance", "port"),
    [((), "", 8765), (("napari-cellsam@.service.d/gpu.conf",), "1", 8761)],
)
def test_the_units_start_a_service_on_a_port_of_its_own(drop_ins: tuple[str, ...], instance: str, port: int) -> None:
    options = parse(started(unit(*drop_ins), instance))
    assert (options["host"], options["port"]) == ("127.0.0.1", port)
    assert options["token_file"] == Path("/etc/napari-cellsam/tokens")
    assert options["device"] == "cuda"


def test_the_unit_gives_the_service_no_rights_that_it_does_not_need() -> None:
    said = unit()
    assert said["User"] == ["napari-cellsam"]
    assert said["NoNewPrivileges"] == ["yes"]
    assert said["CapabilityBoundingSet"] == [""]
    assert said["ProtectSystem"] == ["strict"]
    assert said["DevicePolicy"] == ["closed"]
    folders = {line.partition("=")[2] for line in said["Environment"] if line.startswith("NAPARI_CELLSAM_")}
    assert {folder.split("/")[0] for folder in folders} == {"%C", "%S"}  # the only ones that it can write into
    assert said["CacheDirectory"] == said["StateDirectory"] == ["napari-cellsam"]


def test_a_service_may_open_more_files_than_connections_and_is_not_killed_while_it_ends() -> None:
    options = parse(started(unit()))
    least_s = options["grace_s"] + _LAST_STEP_S
    compose = yaml.safe_load((_DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["napari-cellsam"]
    assert int(unit()["LimitNOFILE"][0]) > 2 * options["max_connections"]
    assert compose["ulimits"]["nofile"] > 2 * options["max_connections"]
    assert int(unit()["TimeoutStopSec"][0]) > 2 * least_s
    assert int(compose["stop_grace_period"].removesuffix("s")) > 2 * least_s


def test_the_composition_mounts_files_that_there_are_where_the_container_looks_for_them() -> None:
    compose = yaml.safe_load((_DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service, proxy = compose["services"]["napari-cellsam"], compose["services"]["caddy"]
    assert (_DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve() == _DEPLOY / "Dockerfile"
    places = [mount.split(":")[1] for mount in service["volumes"]]
    command = parse(json.loads(instructions()["CMD"][0]))
    assert str(command["token_file"].parent) in places
    assert set(json.loads(instructions()["VOLUME"][0])) <= set(places)
    assert (_DEPLOY / proxy["volumes"][0].split(":")[0]).is_file()
    assert proxy["environment"]["NAPARI_CELLSAM_SERVICES"] == f"napari-cellsam:{command['port']}"
    assert service["expose"] == instructions()["EXPOSE"]


@pytest.mark.parametrize("name", ["Caddyfile", "nginx.conf"])
def test_the_proxies_reach_the_service_and_take_what_it_takes(name: str) -> None:
    text = (_DEPLOY / name).read_text(encoding="utf-8")
    rules = re.sub(r"#.*", "", text)
    options = options_of("serve")
    assert rules.count("{") == rules.count("}") > 0
    assert f"127.0.0.1:{options['--port']}" in rules
    [size] = re.findall(r"(?:max_size|client_max_body_size)\s+(\d+)(?:MiB|m)\b", rules)
    assert int(size) * _MIB == options["--max-body-mib"] * _MIB == Limits().max_body_bytes
    [keep_s] = re.findall(r"\b(?:keepalive|keepalive_timeout)\s+(\d+)s", rules)
    assert int(keep_s) < Limits().idle_timeout_s


def test_commands_in_the_documentation_are_ones_that_the_program_takes() -> None:
    calls = [call for name in _PAGES for call in commands_in(page(name))]
    assert len([call for call in calls if call[0] == "serve"]) >= 3
    for call in calls:
        parse(call)
    [options] = re.findall(r"^OPTIONS=(.*)$", page(), flags=re.MULTILINE)
    parse(["serve", *shlex.split(options)])


def test_the_page_of_the_server_names_every_option_of_serve_and_none_that_it_does_not_have() -> None:
    outside = {"--build-arg", "--gpus"}  # of docker
    spans = re.findall(r"`(--[^`]*|[^`]*serve [^`]*)`", re.sub(r"```.*?```", "", page(), flags=re.DOTALL))
    named = {option for span in spans for option in re.findall(r"--[a-z][a-z-]*", span)}
    assert named - outside <= set(options_of("serve"))
    everywhere = set(re.findall(r"--[a-z][a-z-]*", page()))
    assert set(options_of("serve")) - {"--precision", "--help"} <= everywhere


def test_the_defaults_in_the_table_of_limits_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)` \| ([\d,]+) \|", page(), flags=re.MULTILINE)
    assert len(rows) >= 9
    defaults = options_of("serve")
    assert {name: float(value.replace(",", "")) for name, value in rows} == {name: defaults[name] for name, _ in rows}
    assert f"of one client at most {Limits().max_waiting_per_client} " in page()


def test_the_metrics_in_the_documentation_are_those_of_the_program() -> None:
    metrics = Metrics()
    metrics.request_done("put_image", "answered", 0.1)
    metrics.stage_done("device", 0.1)
    metrics.cache("image", hit=True)
    limits = LimitsInfo(max_body_bytes=1, max_pixels=1, max_prompts=1, max_waiting=1)
    about = ServiceInfo(
        version="1",
        protocol=1,
        device="cpu",
        memory_bytes=1,
        memory_used_bytes=1,
        models=(),
        limits=limits,
        private=False,
    )
    shown = re.findall(r"^# HELP (\S+)", metrics.page(lambda: about).decode(), flags=re.MULTILINE)
    documented = re.findall(r"^\| `(napari_cellsam_\w+)`", page(), flags=re.MULTILINE)
    assert set(documented) == {name for name in shown if not name.endswith("_created")}


def test_messages_in_the_documentation_are_ones_that_the_program_says() -> None:
    section = page().partition("## Troubleshooting by message")[2]
    quoted = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert len(quoted) >= 25
    patterns = {message: ".*?".join(map(re.escape, message.split("…"))) for message in quoted}
    said = "\n".join(messages())
    assert [message for message, pattern in patterns.items() if not re.search(pattern, said)] == []


@pytest.mark.parametrize("name", _PAGES)
def test_links_in_the_documentation_lead_somewhere(name: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page(name)):
        path = (_ROOT / "docs" / target) if target else _ROOT / "docs" / name
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_the_examples_of_the_page_of_the_service_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_CELLSAM_CACHE_DIR", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", page("service.md"), flags=re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "service.md", "exec"), names)
    assert len(names["masks"]) == 1  # type: ignore[arg-type]
    assert names["result"].n_cells == names["result"].labels.max() > 10  # type: ignore[attr-defined]
    assert len(names["boxes"]) > 10  # type: ignore[arg-type]
