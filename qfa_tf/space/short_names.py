"""Names that begin alike, written together: for people, and without meaning."""

from collections.abc import Iterable


def short_names(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns `names` by what stands before their last dot, then by what stands behind it.

    Names without a dot stand under themselves.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        prefix, _, short = name.rpartition(".")
        groups.setdefault(prefix or name, {})[short] = name
    return groups
