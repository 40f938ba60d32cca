"""Pages with Python in them: each page is one program that runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("page", "least"),
    [("docs/coming-from.md", 4), ("docs/extending.md", 4), ("docs/deployment.md", 4), ("docs/offline.md", 1)],
)
def test_the_code_of_a_page_runs(page, least, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= least
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
