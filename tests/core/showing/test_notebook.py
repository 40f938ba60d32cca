"""Notebooks, in a real kernel: a live output, an interrupt that returns the agent, tables, and the example."""

import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import operant
from operant.agent import Agent, Agents
from operant.core.showing import notebook, progress
from operant.core.statistics import Evaluation
from operant.core.training import Progress

ROOT = Path(operant.__file__).parents[1]
DESCRIPTION = {"algorithm": "ppo", "environment": "<b>My&Env</b>", "steps": 1000, "seeds": [3]}
ROWS = [{"steps": 100 * t, "seed": 3, "episode_return": float(t * t)} for t in range(5)]


@pytest.fixture(autouse=True)
def library(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def agent(rows=()):
    made = Agent(operant.PPO(), None, DESCRIPTION, (Box(-1, 1, (2,)), Discrete(2)))
    made.history = list(rows)
    return made


@pytest.mark.filterwarnings("default")  # of the notebook's own machinery
def test_the_example_runs_from_top_to_bottom(tmp_path):
    book = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell.source: cell.outputs for cell in book.cells if cell.cell_type == "code"}
    (trained,) = [outputs for source, outputs in cells.items() if source.startswith("agent = operant.train")]
    pages = [output.data["text/html"] for output in trained if "text/html" in output.get("data", {})]
    assert any("40,960 of 40,960 steps" in page and "<svg" in page for page in pages)  # the live output, at its end
    assert any("<table>" in page and "data:image/png;base64," in page for page in pages)  # the agent
    (evaluated,) = cells["agent.evaluate(episodes=50)"]
    assert "<td>50</td>" in evaluated.data["text/html"] and "Evaluation" in evaluated.data["text/plain"]
    assert float(evaluated.data["text/html"].split("<td>")[2].split("<")[0]) > 50.0  # it has learned something
    told = "".join(output.get("text", "") for outputs in cells.values() for output in outputs)
    assert "write agent.act(observation)" in told
    assert not any(
        cell.outputs for cell in nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4).cells[1:2]
    )


@pytest.mark.filterwarnings("default")
def test_an_interrupt_returns_the_agent(tmp_path):
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        fields = "num_steps=16, num_minibatches=2, network=MLP((4,))"
        client.execute(
            "import operant\nfrom operant.parts.networks.recipes import MLP\n"
            f"agent = operant.train('ppo', 'CartPole-v1', steps=10**9, num_envs=2, {fields}, out='run')"
        )
        shown = ""
        while "steps/s" not in shown:  # it trains
            message = client.get_iopub_msg(timeout=120)
            assert message["msg_type"] != "error", message["content"]
            shown = message["content"].get("data", {}).get("text/html", "")
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        assert reply["content"]["status"] == "ok"
        client.execute("print(type(agent).__name__, agent.outcome.interrupted, int(agent.act([0.0] * 4)) in (0, 1))")
        end, said = time.monotonic() + 60, ""
        while "Agent True True" not in said and time.monotonic() < end:
            said += client.get_iopub_msg(timeout=60)["content"].get("text", "")
        assert "continue with: operant resume run" in said and "Agent True True" in said
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert list((tmp_path / "run" / "checkpoints").iterdir())


def test_tables_escape_and_show_the_curve():
    page = agent(ROWS)._repr_html_()
    assert "&lt;b&gt;My&amp;Env&lt;/b&gt;" in page and "<b>My" not in page
    assert page.count("<img") == 1 and "1,000" in page
    assert "<img" not in agent()._repr_html_()  # nothing to draw
    both = Agents([agent(ROWS), agent(ROWS)])._repr_html_()
    assert both.count("<img") == 1 and "<td>3, 3</td>" in both
    page = Evaluation(np.array([1.0, 3.0]), np.array([5, 5]))._repr_html_()
    assert "<td>2</td><td>2.0</td>" in page and page.count("<th>") == page.count("<td>") == 4


def test_the_live_output_is_renewed_and_ends_with_the_newest(monkeypatch):
    pages = []

    class Output:
        show = staticmethod(pages.append)

    monkeypatch.setattr(notebook, "in_kernel", lambda: True)
    monkeypatch.setattr(notebook, "Output", Output)
    reporter = progress.Reporter("auto", "a <title>")
    for t, row in enumerate(ROWS[1:]):
        reporter(Progress(100 * t, 400, 1.0, 0.0, [row], steps_per_second=100.0))
    assert len(pages) == 1  # not at every chunk
    reporter.close()
    assert len(pages) == 2 and "a &lt;title&gt;" in pages[1] and "300 of 400 steps" in pages[1]
    points = pages[1].partition('points="')[2].partition('"')[0].split()
    assert points == ["0.0,90.0", "140.0,72.0", "280.0,42.0", "420.0,0.0"]  # 1, 4, 9, 16 over 100 ... 400 steps
    progress.Reporter("plain").close()
    assert len(pages) == 2


def test_a_plain_process_is_no_kernel():
    assert not notebook.in_kernel()
    assert "IPython" not in sys.modules or sys.modules["IPython"].get_ipython() is None
