"""The examples of docs/defining-a-problem.md do what the page says."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "defining-a-problem.md"


def test_the_examples_of_the_page_run(capsys):
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 3
    exec("\n".join(examples), {"__name__": "page"})
    assert "four-tuple: step returned 4 values" in capsys.readouterr().out
