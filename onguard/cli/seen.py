"""What a profile saw, as a table for people. Pure but for the rich types."""

from rich.table import Table

from onguard.performance import baseline_of
from onguard.profile import SPECIALS, Feature, Group, Profile, Role


def table_of(profile: Profile) -> Table:
    """One line a feature."""
    table = Table(title=f"{profile.rows:,} rows counted, {profile.edge_rows:,} rows chose the bins", title_style="bold")
    table.add_column("feature", overflow="fold")
    table.add_column("kind")
    table.add_column("role")
    table.add_column("bins", justify="right")
    table.add_column("missing", justify="right")
    table.add_column("unparseable", justify="right")
    table.add_column("values", overflow="ellipsis", no_wrap=True)
    for feature in profile.features:
        missing, unparseable = feature.counts[-len(SPECIALS) :][:2]
        rows = sum(feature.counts)
        table.add_row(
            feature.name,
            feature.kind.value,
            "output" if feature.group is Group.OUTPUT else feature.role.value,
            str(feature.value_bins),
            share(missing, rows),
            share(unparseable, rows),
            values_of(feature),
        )
    return table


def share(part: int, whole: int) -> str:
    """
    Per cent for people.

    >>> share(0, 10), share(1, 10), share(1, 100_000)
    ('0', '10%', '0.001%')
    """
    return f"{100 * part / whole:.3g}%" if part else "0"


def values_of(feature: Feature) -> str:
    """
    A short description of the values.

    >>> from onguard.profile import Kind
    >>> town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("Bern", "Chur"), counts=(5, 3, 0, 0, 0, 0, 0))
    >>> values_of(town)
    'Bern, Chur'
    """
    if feature.role in (Role.ID, Role.TIME):
        return "not kept: only missing and unparseable are judged"
    if feature.numeric is not None:
        n = feature.numeric
        constant = "constant " if n.minimum == n.maximum else ""
        return f"{constant}{n.minimum:.6g} to {n.maximum:.6g}, mean {n.mean:.4g}" if feature.edges or constant else ""
    shown = ", ".join(feature.categories[:5])
    return f"{shown}, ..." if len(feature.categories) > 5 else shown


def remarks(profile: Profile) -> list[str]:
    """What a person should know of this reference, most important first."""
    notes = []
    if profile.learned:
        notes.append(f"Learned from {profile.source}: what was wrong then is normal now.")
    if not profile.outputs:
        notes.append(
            "outputs: none. Drift of the model's answers is not judged; name them with --output-column, and say "
            "which rows the model was not trained on: --held-out-column, or --outputs-held-out if all are."
        )
    else:
        held = min(sum(f.counts) for f in profile.outputs)
        whose = "that it answered live" if profile.learned else "that it was not trained on, by your word"
        notes.append(f"Outputs are what the model answers to {held:,} rows {whose}.")
    if (known := baseline_of(profile)) is not None:
        notes.append(
            f"Wrong by their labels, with 1 from a score of {known.threshold:g} on: {known.errors.rate:.1%} of "
            f"{known.errors.total * known.effect:,.0f} rows."
        )
    if profile.design_effect is None:
        notes.append("i.i.d. assumed: no column with times over at least 7 days says how much days differ.")
    elif varying := [f.name for f in profile.features if (f.design_effect or 1.0) > 1.0]:
        notes.append(f"Days differ by more than chance in {', '.join(varying)}: their limits are wider.")
    constant = [f.name for f in profile.inputs if f.is_ordered and not f.edges and f.role is Role.FEATURE]
    if constant:
        notes.append(f"Constant: {', '.join(constant)}. Any other value counts as out of range.")
    return notes
