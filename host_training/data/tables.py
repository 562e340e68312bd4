"""What `edgeemo data` prints, as rich tables and lines of text."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.data.audit import Audit, NearDuplicateAudit
from host_training.data.prepared import PreparedRecord
from host_training.data.samples import Samples


def audit_view(audit: Audit) -> RenderableType:
    """Show counts, duplicates, subjects and agreement."""
    table = Table("rows", title=f"protocol {audit.protocol}")
    for name in audit.splits:
        table.add_column(name, justify="right")
    splits = list(audit.splits.values())
    for label in audit.labels:
        table.add_row(label, *(str(split.per_class[label]) for split in splits))
    table.add_section()
    table.add_row("measurable", *(str(split.measurable) for split in splits))
    table.add_row("trainable", *(str(split.trainable) for split in splits))
    table.add_row("all", *(str(split.rows) for split in splits))
    parts: list[RenderableType] = [table]
    if audit.faces is not None:
        rows = {name: split.rows for name, split in audit.splits.items()}
        parts.append(_without_face(audit.faces.rows_without_face, rows))
    return Group(*parts, *(Text(line) for line in audit_lines(audit)))


def audit_lines(audit: Audit) -> list[str]:
    """Say in words what the table of counts does not show; what leaks is called so."""
    lines = _gap_lines(audit)
    twins = audit.duplicates
    lines += [
        f"exact duplicates: {twins.groups} pictures occur more than once ({twins.rows} samples); "
        f"{twins.groups_disagreeing} of them with different answers"
    ]
    lines += [f"  within {name}: {n}" for name, n in twins.groups_within.items() if n]
    lines += [f"  LEAK: in both {pair}: {n}" for pair, n in twins.groups_across.items() if n]
    if audit.near_duplicates is not None:
        lines += _near_lines(audit.near_duplicates)
    if subjects := audit.subjects:
        lines.append(
            f"subjects: {subjects.subjects}, {subjects.fewest_rows} to {subjects.most_rows} "
            "samples each: a split must be disjoint by subject"
        )
        if subjects.across_splits:
            lines.append(f"  LEAK: {subjects.across_splits} subjects are in more than one split")
    if votes := audit.votes:
        per_class = ", ".join(f"{k} {v:.2f}" for k, v in votes.mean_entropy_bits_per_class.items())
        lines.append(
            f"votes: unanimous in {votes.unanimous:.1%} of the trainable samples, mean entropy "
            f"{votes.mean_entropy_bits:.2f} bits ({per_class})"
        )
    return lines


def _gap_lines(audit: Audit) -> list[str]:
    lines = []
    for name, split in audit.splits.items():
        empty = [label for label, n in split.per_class.items() if not n]
        if split.measurable and empty:
            lines.append(f"no sample of {', '.join(empty)} in {name}")
        if not split.measurable:
            lines.append(f"no sample with an answer in {name}")
    return lines


def prepared_view(record: PreparedRecord, samples: Samples) -> RenderableType:
    """Show how many rows had no face, by split and class, and say what becomes of them."""
    missing = record.dataset.rows - record.rows_with_face
    line = (
        f"face found in {record.rows_with_face} of {record.dataset.rows} samples; the other "
        f"{missing} keep the raw picture as crop and have no mesh features"
    )
    rows = {split: int((samples.split == split).sum()) for split in record.rows_without_face}
    return Group(_without_face(record.rows_without_face, rows), Text(line))


def _without_face(without: dict[str, dict[str, int]], rows: dict[str, int]) -> Table:
    table = Table("no face found in")
    for split in without:
        table.add_column(split, justify="right")
    for label in dict.fromkeys(label for counts in without.values() for label in counts):
        table.add_row(label, *(str(counts.get(label, 0)) for counts in without.values()))
    table.add_section()
    totals = {split: sum(counts.values()) for split, counts in without.items()}
    table.add_row("all", *(str(n) for n in totals.values()))
    table.add_row("share", *(f"{totals[split] / rows[split]:.1%}" for split in without))
    return table


def _near_lines(near: NearDuplicateAudit) -> list[str]:
    lines = [
        f"near duplicates: {near.pairs} pairs of pictures correlate by {near.threshold:.2f} or "
        f"more ({near.mirrored_pairs} of them mirrored), in {near.groups} groups ({near.rows} "
        f"samples); {near.groups_disagreeing} groups with different answers"
    ]
    lines += [f"  within {name}: {n} groups" for name, n in near.groups_within.items() if n]
    lines += [f"  LEAK: in both {pair}: {n} groups" for pair, n in near.groups_across.items() if n]
    lines += [
        f"  LEAK: {n} samples of {name} have a near duplicate in another split"
        for name, n in near.rows_leaking.items()
        if n
    ]
    return lines
