"""Installing into clients: the entry gets in, all else stays as it was, and undoing leaves every byte as before. Real files in a home of its own."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import JsonValue

from workspaces.clients import jsonc
from workspaces.clients.installing import Installer
from workspaces.clients.known import CLIENTS, Client, Here, client
from workspaces.errors import Exists, InvalidArgument, NotAllowed, TargetMoved, Unsupported

ALL = pytest.mark.parametrize("each", CLIENTS, ids=lambda each: each.key)
OTHER = {
    "jsonc": '// mine\n{\n\t"theme": "dark", // keep\n\t"SECTION": {\n\t\t// the other one\n'
    '\t\t"other": {"command": "x", "env": {"API_KEY": "s3cret"}},\n\t},\n\t"last": [1, 2]\n}\n',
    "toml": 'model = "o"  # keep\n\n[SECTION.other]\ncommand = "x"\n\n# of the profile\n[profiles.fast]\nmodel = "f"\n',
    "yaml": "# mine\nGOOSE_MODE: auto\nSECTION:\n    other:   # keep\n        cmd: x\n        args: [ 'a' ]\n\n# at the end\nlast: 'yes'\n",
}


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Here:
    (tmp_path / "shop").mkdir()
    return Here({"HOME": str(home), "PATH": "/nowhere"}, "linux", tmp_path / "shop")


def form(each: Client) -> str:
    return each.form.parse.__module__.rsplit(".", 1)[1]


def others(each: Client) -> str:
    return OTHER[form(each)].replace("SECTION", each.section)


def write(here: Here, each: Client, text: str | bytes) -> Path:
    file = each.place(here)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def said(each: Client, text: str) -> dict[str, JsonValue]:
    """Return what a file says to the client: by the format's own parser where there is one."""
    match form(each):
        case "toml":
            return tomllib.loads(text)
        case "yaml":
            whole: dict[str, JsonValue] = yaml.safe_load(text)
            return whole
        case _:
            return dict(jsonc.parse(text))


def ours(each: Client, text: str) -> dict[str, JsonValue]:
    """Return the entry of this server."""
    section = said(each, text)[each.section]
    assert isinstance(section, dict)
    entry = section["workspaces"]
    assert isinstance(entry, dict)
    return entry


def install(here: Here, each: Client) -> None:
    installer = Installer(here)
    assert installer.carry_out(installer.install(each)).done


def uninstall(here: Here, each: Client) -> None:
    installer = Installer(here)
    assert installer.carry_out(installer.uninstall(each)).done


@ALL
def test_a_client_without_a_file_gets_one_and_undoing_leaves_nothing(here: Here, each: Client) -> None:
    before = set(here.home.rglob("*"))
    install(here, each)
    entry = ours(each, each.place(here).read_text())
    command = entry.get("command") or entry["cmd"]
    assert isinstance(command, str)
    assert os.access(command, os.X_OK)
    assert (Path(command).is_absolute(), entry["args"]) == (True, ["serve"])
    assert Installer(here).install(each).said.action == "none"
    uninstall(here, each)
    kept = here.config / "mcp-workspaces"
    assert {path for path in here.home.rglob("*") if not path.is_relative_to(kept)} == before | {here.config}
    assert list((kept / "installed").iterdir()) == []


@ALL
@pytest.mark.parametrize("windows", [False, True])
def test_all_else_stays_and_undoing_brings_every_byte_back(here: Here, each: Client, windows: bool) -> None:
    text = others(each).replace("\n", "\r\n" if windows else "\n")
    file = write(here, each, text)
    file.chmod(0o640)
    installer = Installer(here)
    planned = installer.install(each)
    assert (file.read_bytes(), planned.said.action) == (text.encode(), "add")
    assert "s3cret" not in planned.said.diff
    installer.carry_out(planned)
    now = file.read_bytes().decode()
    left = iter(now.splitlines())
    assert all(line in left or f"{line}," in now.splitlines() for line in text.splitlines()), (
        "the lines of before are there, in their order"
    )
    assert ("\r\n" in now, now.count("\n") == now.count("\r\n")) == (windows, windows)
    assert file.stat().st_mode & 0o777 == 0o640
    assert all(path.stat().st_mode & 0o077 == 0 for path in (here.config / "mcp-workspaces" / "installed").iterdir())
    uninstall(here, each)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (text.encode(), 0o640)


@ALL
def test_of_a_file_that_was_changed_since_just_ours_is_taken_out(here: Here, each: Client) -> None:
    file = write(here, each, others(each))
    install(here, each)
    changed = file.read_text().replace("dark", "light").replace('"o"', '"p"').replace("auto", "chat")
    file.write_text(changed)
    uninstall(here, each)
    assert file.read_text() == others(each).replace("dark", "light").replace('"o"', '"p"').replace("auto", "chat")


@ALL
def test_what_a_person_added_to_the_entry_stays_when_the_program_moved(here: Here, each: Client) -> None:
    install(here, each)
    file = each.place(here)
    added = {
        "jsonc": ('"args"', '"disabled": true, "args"'),
        "toml": ("args", "disabled = true\nargs"),
        "yaml": ("args", "disabled: true\n    args"),
    }
    text = file.read_text().replace(*added[form(each)])
    file.write_text(text.replace("/bin/workspaces", "/elsewhere/workspaces"))
    planned = Installer(here).install(each)
    assert planned.said.action == "update"
    Installer(here).carry_out(planned)
    assert said(each, file.read_text()) == said(each, text)


@ALL
def test_a_broken_file_is_refused_by_line_and_column_and_left_as_it_is(here: Here, each: Client) -> None:
    broken = {"jsonc": '{\n  "a": 1,\n  oops\n}\n', "toml": "a = 1\n\nb ==\n", "yaml": "a: 1\n\nb: [}\n"}[form(each)]
    file = write(here, each, broken)
    with pytest.raises(InvalidArgument, match=r"line 3, column \d"):
        Installer(here).install(each)
    write(here, each, b"{}\n  \xff")
    with pytest.raises(InvalidArgument, match="line 2, column 3: not UTF-8"):
        Installer(here).install(each)
    file.write_text(broken)
    assert next(seen for seen in Installer(here).look().clients if seen.client == each.key).problem
    assert file.read_text() == broken


@ALL
def test_a_link_is_written_through(here: Here, each: Client, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "settings"
    real.parent.mkdir()
    real.write_text(others(each))
    place = each.place(here)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(real)
    install(here, each)
    assert (place.is_symlink(), "workspaces" in real.read_text()) == (True, True)
    uninstall(here, each)
    assert (place.is_symlink(), real.read_text()) == (True, others(each))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "{ }\n",
        "// nothing yet\n",
        '{"mcpServers":{}}',
        '{"mcpServers":{"a":{"command":"b"}},"z":1}',
        '{"a": "// no comment, }", "mcpServers": {"x": {} /* one */, /* two */ } }',
        '{\n    "mcpServers": {\n    }\n}',
        '{\n  "mcpServers": {"a": {"command": "b"}}\n}\n',
        '\ufeff{\n  "mcpServers": {\n    "a": {} // last\n    // "b": {}\n  }\n}\n',
        '{\n  "z": 1 /* over\n  lines */\n}\n',
        '{"mcpServers": null}',
    ],
)
def test_json_in_every_shape(here: Here, text: str) -> None:
    cursor = client("cursor")
    file = write(here, cursor, text)
    if "null" in text:
        with pytest.raises(Unsupported, match="Nothing was changed"):
            Installer(here).install(cursor)
        return
    install(here, cursor)
    was, now = said(cursor, text), said(cursor, file.read_text())
    servers = now["mcpServers"]
    assert isinstance(servers, dict)
    del servers["workspaces"]
    assert now == {**was, "mcpServers": was.get("mcpServers", {})}
    assert all(part in file.read_text() for part in ("// nothing yet", "/* one */", "// last", "lines */") if part in text)
    file.write_text(file.read_text() + " ")
    uninstall(here, cursor)
    assert {"mcpServers": {}, **jsonc.parse(file.read_text())} == {"mcpServers": {}, **was}


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {}\n",
        "extensions:\n",
        "extensions: {a: {cmd: b}}\n",
        "extensions:\n  a:\n    cmd: |\n      one\n      two\n# end",
        "---\nextensions:\n  a: {cmd: b}  # note\n\nz: 1",
    ],
)
def test_yaml_in_every_shape(here: Here, text: str) -> None:
    goose = client("goose")
    file = write(here, goose, text)
    install(here, goose)
    was, now = yaml.safe_load(text), yaml.safe_load(file.read_text())
    del now["extensions"]["workspaces"]
    assert now == {**was, "extensions": was["extensions"] or {}}
    uninstall(here, goose)
    assert file.read_text() == text


def test_a_table_that_cannot_take_another_is_left_alone(here: Here) -> None:
    file = write(here, client("codex"), 'mcp_servers = { a = { command = "b" } }\n')
    with pytest.raises(Unsupported, match="by hand|Nothing was changed"):
        Installer(here).install(client("codex"))
    assert file.read_text() == 'mcp_servers = { a = { command = "b" } }\n'


def test_what_was_kept_is_forgotten_when_a_person_took_it_out_by_hand(here: Here) -> None:
    cursor = client("cursor")
    file = write(here, cursor, '{"mcpServers": {"x": {"env": {"API_KEY": "s3cret"}}}}')
    before = file.read_bytes()
    install(here, cursor)
    file.write_bytes(before)
    installer = Installer(here)
    assert not installer.carry_out(installer.uninstall(cursor)).done
    assert (file.read_bytes(), list((here.config / "mcp-workspaces" / "installed").iterdir())) == (before, [])


def test_a_table_in_a_text_is_no_table(here: Here) -> None:
    text = "notes = '''\n[mcp_servers.workspaces]\n'''\n"
    file = write(here, client("codex"), text)
    install(here, client("codex"))
    assert file.read_text().startswith(text)


def test_another_program_of_that_name_is_neither_overwritten_nor_removed(here: Here) -> None:
    cursor = client("cursor")
    file = write(here, cursor, '{"mcpServers": {"workspaces": {"command": "google-workspaces", "args": []}}}')
    before = file.read_bytes()
    with pytest.raises(Exists, match="another program"):
        Installer(here).install(cursor)
    with pytest.raises(NotAllowed):
        Installer(here).uninstall(cursor)
    assert file.read_bytes() == before


def test_what_somebody_changed_between_the_look_and_the_answer_is_not_overwritten(here: Here) -> None:
    cursor = client("cursor")
    file = write(here, cursor, "{}")
    planned = Installer(here).install(cursor)
    file.write_text('{"new": 1}')
    with pytest.raises(TargetMoved):
        Installer(here).carry_out(planned)
    assert (file.read_text(), list(file.parent.iterdir())) == ('{"new": 1}', [file])


def test_a_projects_file_that_leads_out_of_it_is_refused(here: Here) -> None:
    outside = here.home / "secret"
    outside.write_text("{}")
    (here.folder / ".mcp.json").symlink_to(outside)
    with pytest.raises(NotAllowed, match="leads out"):
        Installer(here).install(client("claude-code"), "project")
    with pytest.raises(InvalidArgument, match="no configuration for a project"):
        Installer(here).install(client("goose"), "project")


def test_a_server_for_one_project_only(here: Here) -> None:
    desktop = client("Claude Desktop")
    installer = Installer(here, project="/srv/shop")
    installer.carry_out(installer.install(desktop))
    assert '"--project",\n        "/srv/shop",\n        "serve"' in desktop.place(here).read_text()
