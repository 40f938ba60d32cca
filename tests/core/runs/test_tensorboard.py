"""TensorBoard events: what is in metrics.jsonl is in them, by the names and steps it has there."""

from tensorboardX.proto.event_pb2 import Event

from operant.core.runs.tensorboard import Board


def events(folder):
    """`{tag: [(step, value), ...]}` of the event files in a folder."""
    found: dict = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            # A record: its length (8 bytes), a checksum (4), the event, a checksum (4).
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            content = content[16 + length :]
    return found


def test_rows_become_scalars(tmp_path):
    board = Board(tmp_path, 0, several=False)
    board.add({"steps": 10, "seed": 0, "episode_return": None, "loss": 0.5})
    board.add({"steps": 20, "seed": 0, "episode_return": 3.0, "loss": 0.25})
    board.close()
    assert events(tmp_path) == {"loss": [(10, 0.5), (20, 0.25)], "episode_return": [(20, 3.0)]}


def test_seeds_have_curves_of_their_own(tmp_path):
    board = Board(tmp_path, 0, several=True)
    for seed in (4, 5):
        board.add({"steps": 10, "seed": seed, "loss": float(seed)})
    board.close()
    assert events(tmp_path) == {"loss/seed_4": [(10, 4.0)], "loss/seed_5": [(10, 5.0)]}


def test_a_folder_that_cannot_be_written_costs_only_the_events(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    board = Board(blocked, 0, several=False)
    board.add({"steps": 10, "seed": 0, "loss": 0.5})
    board.close()
