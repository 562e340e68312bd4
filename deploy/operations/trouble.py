"""Which devices need somebody, by what `deploy status` learnt of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_LITTLE_MB: Final = 500
_WAITING: Final = "waiting for the camera"

Answer = Mapping[str, Any]
"""As ``deploy.operations.manage.status`` gives it; of one that cannot be asked, ``error`` alone."""


def usual_release(answers: Sequence[Answer]) -> str | None:
    """Return the release that most devices run."""
    names = Counter(one["current"] for one in answers if one.get("current"))
    return names.most_common(1)[0][0] if names else None


def troubles(answer: Answer, usual: str | None) -> Iterator[str]:
    """Yield what is amiss with a device, the worst first."""
    if error := answer.get("error"):
        yield str(error)
        return
    if not answer["current"]:
        yield "edgeemo is not there"
        return
    yield from _service(answer["service"])
    if answer["trying"]:
        yield f"trying {answer['trying']}"
    if drift := answer.get("drift"):
        yield f"{drift} files altered"
    if answer["current"] != usual:
        yield "not the release that most have"
    if (failed := answer["failed"]) and list(failed)[-1] not in answer["good"]:
        yield f"{list(failed)[-1]} did not hold: {failed[list(failed)[-1]].get('problem', '')}"
    if answer["free_mb"] < _LITTLE_MB:
        yield f"{answer['free_mb']:,} MB free"


def _service(service: Mapping[str, str]) -> Iterator[str]:
    if not service:
        return
    if service.get("ActiveState") != "active":
        yield f"service {service.get('ActiveState', 'unknown')}"
    if (said := service.get("StatusText", "")).startswith(_WAITING):
        yield said
    if service.get("NRestarts", "0") not in {"", "0"}:
        yield f"restarted {service['NRestarts']} times"


def by_trouble(answers: Sequence[Answer]) -> list[tuple[Answer, list[str]]]:
    """Return the devices with their troubles, those that cannot be asked first, the well last."""
    usual = usual_release(answers)
    found = [(one, list(troubles(one, usual))) for one in answers]
    return sorted(found, key=lambda pair: ("error" not in pair[0], -len(pair[1])))
