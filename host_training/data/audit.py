"""What one should know about a data set before trusting a figure measured on it."""

from itertools import combinations

import msgspec
import numpy as np
from numpy.typing import NDArray

from host_training.data.near_duplicates import MAX_SHIFT, THRESHOLD, NearPairs, groups_of
from host_training.data.prepared import without_face
from host_training.data.samples import Samples, first_rows, picture_keys


class SplitAudit(msgspec.Struct, frozen=True, kw_only=True):
    """One split: rows, rows with one right answer under the protocol, and those by label."""

    rows: int
    trainable: int
    measurable: int
    per_class: dict[str, int]


class DuplicateAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Groups of rows that show the very same picture.

    Attributes:
        groups: pictures that occur more than once.
        rows: in those groups.
        groups_within: by split: the groups with two or more rows in it.
        groups_across: by pair of splits: the groups with rows in both. They leak.
        groups_disagreeing: whose measurable rows have different right answers.
    """

    groups: int
    rows: int
    groups_within: dict[str, int]
    groups_across: dict[str, int]
    groups_disagreeing: int


class NearDuplicateAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Pictures that differ and yet are the same shot; see ``host_training.data.near_duplicates``.

    Attributes:
        threshold: pairs that correlate so much count.
        max_shift_px: by which one may be shifted against the other.
        pairs: of distinct pictures.
        mirrored_pairs: among them: one is the other's mirror image.
        groups: of pictures that such pairs join, directly or by way of others.
        rows: in those groups, exact duplicates of their pictures included.
        groups_within: by split: the groups with two or more of its distinct pictures.
        groups_across: by pair of splits: the groups with rows in both. They leak.
        rows_leaking: by split: its rows whose group has rows in another split, too.
        groups_disagreeing: whose measurable rows have different right answers.
    """

    threshold: float
    max_shift_px: int
    pairs: int
    mirrored_pairs: int
    groups: int
    rows: int
    groups_within: dict[str, int]
    groups_across: dict[str, int]
    rows_leaking: dict[str, int]
    groups_disagreeing: int


class FaceAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Where the device's mesher finds a face, and by split and label where it finds none."""

    rows_with_face: int
    rows_without_face: dict[str, dict[str, int]]


class SubjectAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Who is in the pictures; subjects in more than one split leak."""

    subjects: int
    fewest_rows: int
    most_rows: int
    across_splits: int


class VoteAudit(msgspec.Struct, frozen=True, kw_only=True):
    """How much people agreed, over the trainable rows.

    Attributes:
        mean_entropy_bits: of the distribution of the votes; 0 is unanimous, 3 is eight equals.
        unanimous: share of the rows with one answer only.
        mean_entropy_bits_per_class: by the leading answer.
    """

    mean_entropy_bits: float
    unanimous: float
    mean_entropy_bits_per_class: dict[str, float]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; None is what the data set does not tell, or what was not asked for."""

    name: str
    form: str
    protocol: str
    rows: int
    labels: tuple[str, ...]
    splits: dict[str, SplitAudit]
    duplicates: DuplicateAudit
    near_duplicates: NearDuplicateAudit | None
    faces: FaceAudit | None
    subjects: SubjectAudit | None
    votes: VoteAudit | None


def audit(
    samples: Samples, near: NearPairs | None = None, found: NDArray[np.bool_] | None = None
) -> Audit:
    """Count what can be counted; see the structs for what it is.

    Args:
        samples: the data set.
        near: its near duplicates, if they were looked for.
        found: bool ``(n,)``: whether there is a face in each picture, if that was looked for.
    """
    return Audit(
        name=samples.name,
        form=samples.form,
        protocol=samples.protocol,
        rows=len(samples),
        labels=samples.labels,
        splits={name: _split(samples.split_rows(name)) for name in samples.splits},
        duplicates=_duplicates(samples),
        near_duplicates=None if near is None else _near_duplicates(samples, near),
        faces=None
        if found is None
        else FaceAudit(
            rows_with_face=int(found.sum()), rows_without_face=without_face(samples, found)
        ),
        subjects=_subjects(samples),
        votes=_votes(samples),
    )


def _split(rows: Samples) -> SplitAudit:
    return SplitAudit(
        rows=len(rows),
        trainable=int(rows.trainable.sum()),
        measurable=int(rows.measurable.sum()),
        per_class=rows.counts(),
    )


def _duplicates(samples: Samples) -> DuplicateAudit:
    _, group, sizes = np.unique(
        picture_keys(samples.images), return_inverse=True, return_counts=True
    )
    repeated = sizes > 1
    in_split = {
        name: np.bincount(group[samples.split == name], minlength=len(sizes))
        for name in samples.splits
    }
    return DuplicateAudit(
        groups=int(repeated.sum()),
        rows=int(sizes[repeated].sum()),
        groups_within={name: int((counts > 1).sum()) for name, counts in in_split.items()},
        groups_across={
            f"{a}+{b}": int(((in_split[a] > 0) & (in_split[b] > 0)).sum())
            for a, b in combinations(samples.splits, 2)
        },
        groups_disagreeing=_disagreeing(group, samples.class_ids, samples.measurable),
    )


def _near_duplicates(samples: Samples, near: NearPairs) -> NearDuplicateAudit:
    first = first_rows(samples.images)
    group = groups_of(near.pairs, len(samples))[first]
    distinct = first == np.arange(len(samples))
    near_groups = np.bincount(group[distinct], minlength=len(samples)) > 1
    in_near_group = near_groups[group]
    splits = {name: samples.split == name for name in samples.splits}
    present = {name: _present(group[mask & in_near_group], mask) for name, mask in splits.items()}
    shared = np.sum([*present.values()], axis=0) > 1
    return NearDuplicateAudit(
        threshold=THRESHOLD,
        max_shift_px=MAX_SHIFT,
        pairs=len(near.pairs),
        mirrored_pairs=int(near.mirrored.sum()),
        groups=int(near_groups.sum()),
        rows=int(in_near_group.sum()),
        groups_within={
            name: int((_distinct_in(first, group, mask & in_near_group) > 1).sum())
            for name, mask in splits.items()
        },
        groups_across={
            f"{a}+{b}": int((present[a] & present[b]).sum()) for a, b in combinations(splits, 2)
        },
        rows_leaking={name: int(shared[group[mask]].sum()) for name, mask in splits.items()},
        groups_disagreeing=_disagreeing(
            group, samples.class_ids, samples.measurable & in_near_group
        ),
    )


def _present(groups: NDArray[np.int64], like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return by group number whether it occurs."""
    return np.asarray(np.bincount(groups, minlength=len(like)) > 0)


def _distinct_in(
    first: NDArray[np.int64], group: NDArray[np.int64], mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return by group number how many distinct pictures of it are among the rows of ``mask``."""
    pictures = np.unique(first[mask])
    return np.bincount(group[pictures], minlength=len(first))


def _disagreeing(
    group: NDArray[np.int64], class_ids: NDArray[np.int64], measurable: NDArray[np.bool_]
) -> int:
    """Count the groups in which more than one different answer occurs."""
    answers = np.unique(np.stack((group[measurable], class_ids[measurable])), axis=1)
    return int((np.bincount(answers[0]) > 1).sum())


def _subjects(samples: Samples) -> SubjectAudit | None:
    if samples.subjects is None:
        return None
    names, counts = np.unique(samples.subjects, return_counts=True)
    pairs = set(zip(samples.subjects.tolist(), samples.split.tolist(), strict=True))
    return SubjectAudit(
        subjects=len(names),
        fewest_rows=int(counts.min()),
        most_rows=int(counts.max()),
        across_splits=len(pairs) - len(names),
    )


def _votes(samples: Samples) -> VoteAudit | None:
    shares = samples.targets[samples.trainable].astype(np.float64)
    if not len(shares) or ((shares == 0) | (shares == 1)).all():
        return None
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = np.abs((shares * logs).sum(axis=1))
    leading = shares.argmax(axis=1)
    return VoteAudit(
        mean_entropy_bits=float(entropy.mean()),
        unanimous=float((shares.max(axis=1) == 1).mean()),
        mean_entropy_bits_per_class={
            label: float(entropy[leading == i].mean())
            for i, label in enumerate(samples.labels)
            if (leading == i).any()
        },
    )
