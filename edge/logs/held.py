"""How long a face showed each emotion: one definition, for the run that sees it and for its log.

A label holds from the frame in which it was taken on until the frame in which the next one was, and
the last one until the frame in which the face was last seen: what follows, until the face is known
to have left, is nobody's. A face that was seen in one frame only, as in a picture, spent no time;
it counts as one face, wholly for its label. ``edgeemo.analysis.held`` is the same in SQL.
"""

import msgspec


class Stay(msgspec.Struct):
    """The stay of one face, followed frame by frame.

    Attributes:
        label: what it shows now.
        seen_s: when it was last seen.
        seconds: how long it has shown each label.
    """

    label: str
    seen_s: float
    seconds: dict[str, float] = msgspec.field(default_factory=dict)

    def see(self, label: str, t_s: float) -> None:
        """Take note of the face's next frame."""
        shown_s = self.seconds.get(self.label, 0.0)
        self.seconds[self.label] = shown_s + t_s - self.seen_s
        self.label, self.seen_s = label, t_s

    def shares(self) -> dict[str, float]:
        """Return each label's share of the time, which sum to 1."""
        total_s = sum(self.seconds.values())
        if total_s <= 0:
            return {self.label: 1.0}
        return {label: s / total_s for label, s in self.seconds.items()}
