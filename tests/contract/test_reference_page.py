"""The reference page says what the CRDs say."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import reference_page


def test_the_reference_page_is_the_one_that_the_crds_give() -> None:
    assert reference_page.PAGE.read_text() == reference_page.render(), "run: python tests/contract/reference_page.py"


def test_every_field_has_a_meaning() -> None:
    bare = [line for line in reference_page.render().splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert bare == []
