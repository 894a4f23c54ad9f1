"""Where things are in the checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The root of the checkout."""
DOCS = ROOT / "docs"
"""The pages."""
FIXTURES = ROOT / "tests" / "fixtures"
"""Files that tests read."""
