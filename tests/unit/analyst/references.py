"""Small references for the tests of the analyst."""

from onguard.profile import Feature, Group, Kind, Moments, Numeric, Profile


def numeric(name: str, *, group: Group = Group.INPUT, atoms: tuple[float, ...] = (), rows: int = 100) -> Feature:
    """Edges at 10, 20, 30; range 0 to 40; mean 20, sd 10."""
    return Feature(
        name=name,
        kind=Kind.NUMERIC,
        group=group,
        edges=(10.0, 20.0, 30.0),
        counts=(rows // 4,) * 4 + (0,) * 4,
        numeric=Numeric(minimum=0.0, maximum=40.0, mean=20.0, sd=10.0, atoms=atoms),
    )


def categorical(name: str, categories: tuple[str, ...] = ("a", "b"), *, rows: int = 100) -> Feature:
    """The first category holds every row."""
    counts = (rows, *(0 for _ in categories[1:]), 0, 0, 0, 0, 0)
    return Feature(name=name, kind=Kind.CATEGORICAL, categories=categories, counts=counts)


def profile(*features: Feature, moments: tuple[str, ...] = (), rows: int = 100) -> Profile:
    """A reference of these features."""
    zeros = tuple((0.0,) * len(moments) for _ in moments)
    sums = Moments(features=moments, means=(0.0,) * len(moments), products=zeros) if moments else None
    return Profile(rows=rows, features=features, moments=sums)


CHURN = profile(
    numeric("age", atoms=(25.0,)),
    numeric("spend"),
    categorical("city"),
    numeric("score", group=Group.OUTPUT),
    moments=("age", "spend"),
)
