"""What a command may lack: packages of an extra, or the workstation's half of edgeemo."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NoReturn

from edge.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import typer

EXTRAS: Final = {
    "host": ("tensorflow", "keras", "sklearn", "matplotlib", "tensorboard", "scipy", "h5py"),
    "quantize": ("ai_edge_quantizer",),
    "analysis": ("duckdb",),
    "view": ("starlette", "uvicorn"),
    "deploy": ("pyinfra", "gevent"),
    "mediapipe": ("mediapipe",),
    "torch": ("torch",),
    "host-jax": ("jax",),
}
"""The modules that each extra of pyproject.toml brings."""
WORKSTATION: Final = {
    "analyze": "analyze",
    "data": "data",
    "train": "train",
    "runs": "runs",
    "evaluate": "evaluate",
    "convert": "convert",
    "inspect": "convert",
    "deploy": "deploy",
    "logs summary": "log_analysis",
    "logs export": "log_analysis",
    "logs report": "log_analysis",
    "logs collect": "log_analysis",
    "logs agree": "log_analysis",
    "logs store": "log_analysis",
    "logs sessions": "log_analysis",
    "logs fleet": "log_analysis",
}
"""The commands that a device's wheel is without, and the modules of ``edgeemo.cli`` with them."""
_HALF: Final = frozenset({"host_training", "converters", "deploy"})
"""The packages of ours that a device's wheel is without."""


def is_here(command: str) -> bool:
    """Tell whether this installation has a command."""
    module = WORKSTATION.get(command)
    return module is None or find_spec(f"edgeemo.cli.{module}") is not None


def require(command: str, *modules: str) -> None:
    """Refuse a command before its work begins: a large data set is not read in vain.

    Raises:
        MissingExtraError: one of the modules is not installed.
    """
    for module in modules:
        if find_spec(module) is None and (told := needed(command, module)):
            raise MissingExtraError(told)


def needed(command: str, name: str) -> str | None:
    """Say in one line what to install for a command that lacks a module; None: nobody knows it."""
    module = name.partition(".")[0]
    if module in _HALF:
        return only_on_workstation(command)
    extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        return None
    return (
        f"`edgeemo {command}` needs {module}, which is not installed; install its extra: "
        f"pip install 'edgeemo[{extra}]'"
    )


def only_on_workstation(command: str) -> str:
    """Say why a device has no such command."""
    return (
        f"`edgeemo {command}` is a workstation's command, and this is a device's edgeemo; "
        "run it where the whole of edgeemo is installed"
    )


def add_refusals(app: "typer.Typer", group: str = "") -> None:
    """Let the commands of a group that this installation lacks say why, unlisted."""
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    for command in WORKSTATION:
        parent, _, name = command.rpartition(" ")
        if parent == group and not is_here(command):
            add = app.command(name, hidden=True, add_help_option=False, context_settings=anything)
            add(_refusal(command))


def _refusal(command: str) -> Callable[[], NoReturn]:
    def refuse() -> NoReturn:
        raise ConfigError(only_on_workstation(command))

    return refuse
