"""Files of devices: a list, one a line, or groups, in the forms of Ansible's INI and YAML.

::

    [kitchen]                                     kitchen:
    pi@pi-1.lab                                     hosts:
    pi-2 ansible_host=10.0.0.2                        pi@pi-1.lab:
    pi-[10:19].lab ansible_user=pi                    pi-2: {ansible_host: 10.0.0.2}

    [lab:children]                                lab:
    kitchen                                         children: {kitchen: }

    [lab:vars]                                    office: [pi@pi-7.lab, pi@pi-8.lab]
    ansible_port=2222

Of variables ``ansible_host``, ``ansible_user`` and ``ansible_port`` count; others are left alone.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.errors import DeployError
from deploy.ssh.targets import Target, parse_target
from edge.errors import MissingExtraError, not_there

_HEADING: Final = re.compile(r"\[(?P<name>[A-Za-z0-9_.-]+)(?::(?P<part>children|vars))?\]")
_RANGE: Final = re.compile(r"\[(\d{1,6}):(\d{1,6})\]")
_YAML: Final = frozenset({".yml", ".yaml", ".json"})
_MOST_HOSTS: Final = 100_000
ALL: Final = "all"
"""The group of all devices."""

_Words = Mapping[str, str]


class _Group(msgspec.Struct):
    """Its own devices with what is said of each, the groups in it, and what is said of all."""

    hosts: list[tuple[str, dict[str, str]]] = []
    children: list[str] = []
    words: dict[str, str] = {}


_Groups = dict[str, _Group]


def read_inventory(path: Path, wanted: Sequence[str] = ()) -> list[Target]:
    """Return the devices of a file, or of some groups in it, each once, in order.

    Args:
        path: the file.
        wanted: names of groups; all devices if empty.

    Raises:
        DeployError: it cannot be read, a line is none of an inventory, or a group is not there.
        MissingExtraError: it is YAML, and PyYAML is not installed.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise not_there(
            DeployError(f"{path}: cannot be read ({error.strerror}); expected a list of devices"),
            error,
        ) from error
    except UnicodeDecodeError as error:
        raise DeployError(
            f"{path}: cannot be read ({error}); expected UTF-8 text, a device a line, or YAML"
        ) from error
    groups = _from_yaml(path, data) if path.suffix.lower() in _YAML else _from_lines(path, text)
    if unknown := set(wanted) - groups.keys() - {ALL}:
        there = ", ".join(sorted(groups.keys() - {ALL})) or "none"
        raise DeployError(
            f"--group {min(unknown)}: no such group in {path}; expected one of: {there}"
        )
    found = {name: list(_targets(path, groups, name, {}, ())) for name in groups}
    names = [ALL] if not wanted or ALL in wanted else wanted
    return list(dict.fromkeys(one for name in names for one in found[name]))


def read_targets(
    words: Sequence[str], inventory: Path | None, groups: Sequence[str] = ()
) -> list[Target]:
    """Return the devices of a command line and of a file, each once, in order.

    Args:
        words: as on the command line.
        inventory: see ``read_inventory``.
        groups: of the inventory; all if empty.

    Raises:
        DeployError: none at all, a wrong one, or a file that cannot be read.
    """
    targets = [parse_target(word) for word in words]
    if groups and inventory is None:
        raise DeployError(f"--group {groups[0]}: give the file that has it, --inventory FILE")
    if inventory is not None:
        targets += read_inventory(inventory, groups)
    if not targets:
        raise DeployError("no target; give user@host, @local or --inventory FILE")
    return list(dict.fromkeys(targets))


def _targets(
    path: Path, groups: _Groups, name: str, words: _Words, above: tuple[str, ...]
) -> Iterator[Target]:
    """Yield the devices of a group; what is said nearer to a device counts more."""
    if name in above:
        raise DeployError(f"{path}: the group {name} is in itself")
    group = groups.get(name, _Group())
    known = {**words, **group.words}
    for host, own in group.hosts:
        yield _target(path, host, {**known, **own})
    children = group.children
    if name == ALL:
        inner = {child for one in groups.values() for child in one.children}
        children = [*children, *(one for one in groups if one not in inner and one != ALL)]
    for child in children:
        yield from _targets(path, groups, child, known, (*above, name))


def _target(path: Path, host: str, words: _Words) -> Target:
    try:
        named = parse_target(host)
        user = named.user or words.get("ansible_user")
        port = named.port or words.get("ansible_port")
        whole = f"{user}@" if user else ""
        place = words.get("ansible_host", named.host)
        whole += f"[{place}]" if ":" in place else place
        return parse_target(f"{whole}:{port}" if port else whole) if not named.is_local else named
    except DeployError as error:
        raise DeployError(f"{path}: {error}") from error


def _from_lines(path: Path, text: str) -> _Groups:
    groups: _Groups = {ALL: _Group()}
    name, part = ALL, ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.partition("#")[0].strip()
        if heading := _HEADING.fullmatch(bare):
            name, part = heading["name"], heading["part"] or ""
            groups.setdefault(name, _Group())
            continue
        try:
            _take_line(groups[name], part, bare)
        except (DeployError, ValueError) as error:
            raise DeployError(f"{path}: line {number}: {error}") from error
    for one, group in groups.items():
        if missing := set(group.children) - groups.keys():
            raise DeployError(f"{path}: [{one}:children] names {min(missing)}, which is no group")
    return groups


def _take_line(group: _Group, part: str, line: str) -> None:
    if not line:
        return
    if part == "vars":
        group.words |= _pairs([line])
    elif part == "children":
        group.children.append(line)
    else:
        first, *rest = shlex.split(line)
        own = _pairs(rest)
        for host in _expanded(first):
            parse_target(host)
            group.hosts.append((host, own))


def _pairs(words: Iterable[str]) -> dict[str, str]:
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise DeployError(f"{word!r}: expected NAME=VALUE behind a device")
        found[key.strip()] = value.strip().strip("'\"")
    return found


def _expanded(host: str) -> Iterator[str]:
    """Yield the devices of ``pi-[01:12].lab``, with as many digits as the first number has."""
    match = _RANGE.search(host)
    if match is None:
        yield host
        return
    first, last = int(match[1]), int(match[2])
    if not 0 <= last - first < _MOST_HOSTS:
        raise DeployError(f"{host!r}: expected a range that rises, such as [01:12]")
    for number in range(first, last + 1):
        digits = f"{number:0{len(match[1])}}"
        yield from _expanded(f"{host[: match.start()]}{digits}{host[match.end() :]}")


def _from_yaml(path: Path, data: bytes) -> _Groups:
    try:
        content = msgspec.yaml.decode(data)
    except ImportError as error:
        raise MissingExtraError(f"{path}: YAML needs `pip install pyyaml`") from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DeployError(f"{path}: is no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, Mapping):
        raise DeployError(f"{path}: expected a mapping of groups, got {type(content).__name__}")
    groups: _Groups = {ALL: _Group()}
    for name, group in content.items():
        _take(path, groups, str(name), group)
    return groups


def _take(path: Path, groups: _Groups, name: str, content: Any) -> None:
    """Take a group of YAML: a list of devices, or a mapping with hosts, children and vars."""
    group = groups.setdefault(name, _Group())
    if content is None:
        return
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = {"hosts": dict.fromkeys(map(str, content))}
    parts = ("hosts", "children", "vars")
    if not isinstance(content, Mapping) or not content.keys() <= set(parts):
        raise DeployError(
            f"{path}: the group {name}: expected a list of devices, or a mapping of "
            f"{', '.join(parts)}"
        )
    hosts, children, words = (_mapping(path, name, content.get(part)) for part in parts)
    group.words |= {str(key): str(value) for key, value in words.items()}
    for host, said in hosts.items():
        own = {str(key): str(value) for key, value in _mapping(path, host, said).items()}
        group.hosts += [(one, own) for one in _expanded(str(host))]
    for child, inner in children.items():
        group.children.append(str(child))
        _take(path, groups, str(child), inner)


def _mapping(path: Path, name: object, value: Any) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise DeployError(f"{path}: {name}: expected a mapping, got {type(value).__name__}")
