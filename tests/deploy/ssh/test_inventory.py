"""Files of devices: lists, and groups as Ansible's INI and YAML have them."""

import pytest

from deploy.errors import DeployError
from deploy.ssh.inventory import read_inventory, read_targets

INI = """
pi@lone.lab
[kitchen]
pi@pi-1.lab            # by the door
pi-2 ansible_host=10.0.0.2 ansible_user=root other=x
[halls]
pi-[08:10].lab
six ansible_host=fe80::1
[halls:vars]
ansible_user = lab
ansible_port=2222
[house:children]
kitchen
halls
[house:vars]
ansible_user=pi
"""
YAML = """
all:
  vars: {ansible_user: pi}
  hosts: {pi@lone.lab: }
house:
  children:
    kitchen:
      hosts:
        pi@pi-1.lab:
        pi-2: {ansible_host: 10.0.0.2, ansible_user: root, other: x}
    halls:
      hosts:
        pi-[08:10].lab:
        six: {ansible_host: "fe80::1"}
      vars: {ansible_user: lab, ansible_port: 2222}
"""
KITCHEN = ["pi@pi-1.lab", "root@10.0.0.2"]
HALLS = ["lab@pi-08.lab:2222", "lab@pi-09.lab:2222", "lab@pi-10.lab:2222", "lab@fe80::1:2222"]


def test_a_list_is_read_line_by_line(tmp_path):
    """Comments and repetitions are left out; a wrong line is named."""
    path = tmp_path / "fleet"
    path.write_text("# lab\npi@a\n\npi@b # by the door\npi@a\n[fe80::1]\n")
    found = [str(target) for target in read_targets(["pi@b"], path)]
    assert found == ["pi@b", "pi@a", "fe80::1"]
    path.write_text("pi@a\nx;y\n")
    with pytest.raises(DeployError, match="line 2"):
        read_targets([], path)
    with pytest.raises(DeployError, match="no target"):
        read_targets([], None)
    with pytest.raises(DeployError, match="--inventory FILE"):
        read_targets(["pi@a"], None, ["lab"])


@pytest.mark.parametrize(("name", "text"), [("lab.ini", INI), ("lab.yaml", YAML)])
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ((), ["pi@lone.lab", *KITCHEN, *HALLS]),
        (("all",), ["pi@lone.lab", *KITCHEN, *HALLS]),
        (("house",), [*KITCHEN, *HALLS]),
        (("halls", "kitchen"), [*HALLS, *KITCHEN]),
        (("kitchen", "house"), [*KITCHEN, *HALLS]),
    ],
)
def test_groups_are_chosen_by_name(tmp_path, name, text, groups, expected):
    """Both forms mean the same; what is said nearer to a device counts more."""
    path = tmp_path / name
    path.write_text(text)
    assert [str(target) for target in read_inventory(path, groups)] == expected


def test_a_group_may_be_a_plain_list(tmp_path):
    """As short as YAML can be."""
    path = tmp_path / "lab.yml"
    path.write_text("office: [pi@a, pi@b]\nhall: [pi@c]\n")
    assert [str(one) for one in read_inventory(path, ["office"])] == ["pi@a", "pi@b"]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.ini", "[a:children]\nb\n", "names b, which is no group"),
        ("a.ini", "[a:children]\na\n", "in itself"),
        ("a.ini", "[a]\npi-1 port\n", "line 2.*NAME=VALUE"),
        ("a.ini", "[a]\npi-[9:1]\n", "a range that rises"),
        ("a.ini", "[a]\npi-1 ansible_host=-oProxyCommand=x\n", "no target"),
        ("a.ini", "[a]\npi-1 ansible_user='x;id'\n", "no target"),
        ("a.ini", "[a]\npi-1 ansible_port=99999\n", "no target"),
        ("a.ini", "pi'\n", "line 1"),
        ("a.yml", "- pi@a\n", "mapping of groups, got list"),
        ("a.yml", "a: 3\n", "expected a list of devices"),
        ("a.yml", "a: {host: {b: }}\n", "expected a list of devices"),
        ("a.yml", "a: {hosts: [b]}\n", "expected a mapping"),
        ("a.yml", "a: [x;y]\n", "no target"),
        ("a.yml", "a: [", "no YAML"),
        ("a.yml", "a: !!python/object/apply:os.system ['id']", "no YAML"),
    ],
)
def test_what_is_no_inventory_is_one_line(tmp_path, name, text, told):
    """It names the file, and what was expected; nothing in it is run."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DeployError, match=told) as caught:
        read_inventory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_inventory_that_is_not_there_is_wrong_usage(tmp_path):
    """As every file that a command is given and that is not there."""
    with pytest.raises(DeployError, match=r"no\.ini: cannot be read .*expected a list") as caught:
        read_inventory(tmp_path / "no.ini")
    assert caught.value.exit_code == 2
    (tmp_path / "latin.ini").write_bytes(b"pi@k\xfcche\n")
    with pytest.raises(DeployError, match="expected UTF-8 text") as caught:
        read_inventory(tmp_path / "latin.ini")
    assert caught.value.exit_code == 1


def test_a_group_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    """A typing error pushes to nobody."""
    path = tmp_path / "lab.ini"
    path.write_text(INI)
    with pytest.raises(DeployError, match="expected one of: halls, house, kitchen"):
        read_inventory(path, ["kitchn"])
