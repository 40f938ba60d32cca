"""Fields as flags: every algorithm's defaults survive the way to text and back, parts are chosen by name."""

import dataclasses

import pytest

from operant import catalogue
from operant.algorithms.policy.ppo import PPO
from operant.algorithms.value.dqn import DQN
from operant.errors import OperantError
from operant.flags import assemble, flags_of, kebab
from operant.kinds import NUMBER, PAIRS, TRUTH, choice, optional, several, whole
from operant.parsing import Command, cut, parse
from operant.parts.component import component
from operant.parts.exploration import Boltzmann, EpsilonGreedy
from operant.parts.networks import GRU, MLP
from operant.parts.optimisers import RMSProp
from operant.parts.replay import Uniform
from operant.parts.schedules import Linear

ALGORITHMS = [entry.name for entry in catalogue.ENTRIES]


def read(default, *argv):
    """The algorithm that the command line makes of `default` and `argv`."""
    arguments = cut(argv, ())
    chosen = {name: values[-1] for name, values in arguments.flags if values}
    command = Command("train", "", (), tuple(flags_of(default, chosen)))
    return assemble(default, chosen, parse(command, arguments))


def written(flags):
    return [word for flag in flags for word in (str(flag), flag.kind.show(flag.default))]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_defaults_written_out_are_read_back(name):
    default = catalogue.find(name).default()
    argv = written(flags_of(default))
    assert len(argv) > 2 * len(dataclasses.fields(default)) - 2
    assert read(default, *argv) == default
    assert read(default) == default


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_field_has_a_flag_with_an_explanation(name):
    default = catalogue.find(name).default()
    flags = {flag.name: flag for flag in flags_of(default)}
    for field in dataclasses.fields(default):
        assert flags[field.name].help, field.name
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value) and not isinstance(value, Linear):
            assert {f"{field.name}.{inner.name}" for inner in dataclasses.fields(value)} <= set(flags)


def test_values_of_each_type():
    made = read(
        PPO(),
        *("--learning-rate", "linear(3e-4,0)", "--target-kl=0.02", "--max-gradient-norm", "1", "--num_epochs", "2"),
        *("--normalise", "observations,rewards", "--network.hidden", "256,128", "--optimiser.eps", "1e-7"),
    )
    assert made.learning_rate == Linear(3e-4, 0.0)
    assert (made.target_kl, made.max_gradient_norm, made.num_epochs) == (0.02, 1.0, 2)
    assert made.normalise == ("observations", "rewards")
    assert made.network == MLP((256, 128)) and made.optimiser.eps == 1e-7
    assert made.clip == PPO().clip


def test_a_negative_number_is_a_value_not_a_flag():
    assert read(PPO(), "--entropy-coefficient", "-1e-3").entropy_coefficient == -1e-3


def test_a_chosen_part_brings_its_own_fields():
    made = read(
        DQN(),
        *("--network", "gru", "--network.size", "8", "--exploration", "Boltzmann", "--exploration.temperature", "0.5"),
        *("--optimiser", "rms-prop", "--replay.capacity", "77"),
    )
    assert made.network == GRU(size=8)
    assert made.exploration == Boltzmann(0.5)
    assert made.optimiser == RMSProp()
    assert made.replay == Uniform(77)


def test_naming_the_default_part_keeps_its_values():
    tuned = DQN(exploration=EpsilonGreedy(0.3))
    assert read(tuned, "--exploration", "epsilon-greedy") == tuned


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--gamma", "0.9"], "unknown flag --gamma: Operant calls it --discount"),
        (["--buffer_size", "9"], "unknown flag --buffer-size: Operant calls it --replay.capacity"),
        (["--learning-rte", "1"], "unknown flag --learning-rte: did you mean --learning-rate?"),
        (["--zzz", "1"], "unknown flag --zzz: 'operant train --help' lists them"),
        (["--network", "grru"], "unknown network 'grru': did you mean 'gru'?"),
        (["--exploration", "boltzmann", "--exploration.epsilon", "1"], "unknown flag --exploration.epsilon"),
        (["--batch-size", "1.5"], "--batch-size must be a whole number of at least 0, not '1.5'"),
        (["--batch-size", "-1"], "--batch-size must be a whole number of at least 0, not '-1'"),
        (["--discount", "high"], "--discount must be a number, not 'high'"),
        (["--discount", "nan"], "--discount must be a number, not 'nan'"),
        (["--learning-rate", "linear(1,inf)"], "--learning-rate must be a number or a schedule"),
        (["--bootstrap", "doubl"], "unknown bootstrap 'doubl': did you mean 'double'?"),
        (["--network.hidden", "64,x"], "--network.hidden must be whole numbers with commas"),
        (["--warmup"], "--warmup needs a value: INT"),
        (["--warmup", "--discount", "1"], "--warmup needs a value: INT"),
        (["3"], "'3' is one argument too many"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, told):
    with pytest.raises(OperantError) as caught:
        read(DQN(), *argv)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_kinds_read_what_they_show():
    for kind, values in [
        (whole(), (0, 10**12)),
        (NUMBER, (1e-8, 0.1, -3.0)),
        (TRUTH, (True, False)),
        (optional(NUMBER), (None, 0.5)),
        (choice("max", "double"), ("double",)),
        (several(whole(), ""), ((), (1,), (3, 4))),
    ]:
        for value in values:
            assert kind.read(kind.show(value)) == value
    assert whole().read("2e5") == whole().read("200_000") == 200_000


def test_pairs_are_literals_or_text():
    assert PAIRS.read("size=5") == ("size", 5)
    assert PAIRS.read("name=a=b") == ("name", "a=b")
    assert PAIRS.read("call=__import__('os')") == ("call", "__import__('os')")
    with pytest.raises(ValueError, match="NAME=VALUE"):
        PAIRS.read("=5")


def test_comments_behind_fields_are_their_help():
    flags = {flag.name: flag.help for flag in flags_of(PPO())}
    assert flags["target_kl"] == "leave the remaining updates of a window once it is exceeded"
    assert flags["discount"] == "what a reward one step later is worth now, in [0, 1]"


def test_comments_are_inherited_with_their_fields():
    @component
    class Above:
        kept: float = 1.0  # said above
        replaced: float = 1.0  # said above
        silent: float = 1.0  # said above

    @component
    class Below(Above):
        replaced: float = 2.0  # said below
        silent: float = 2.0
        own: float = 3.0  # said below

    told = {flag.name: (flag.default, flag.help) for flag in flags_of(Below())}
    assert told == {
        "kept": (1.0, "said above"),
        "replaced": (2.0, "said below"),
        "silent": (2.0, "said above"),
        "own": (3.0, "said below"),
    }


def test_names_of_parts():
    assert [kebab(part) for part in (GRU, EpsilonGreedy, RMSProp)] == ["gru", "epsilon-greedy", "rmsprop"]


def test_tables_are_rows_of_numbers():
    default = catalogue.find("mc-prediction").make()
    table = ((0.5, 0.5), (1.0, 0.0))
    assert read(default, "--policy.probabilities", "0.5,0.5; 1,0").policy.probabilities == table
    flag = next(flag for flag in flags_of(default) if flag.name == "policy.probabilities")
    assert flag.kind.read(flag.kind.show(table)) == table and flag.kind.read(flag.kind.show(())) == ()
    with pytest.raises(ValueError, match="rows of numbers"):
        flag.kind.read("0.5,half;1,0")
