"""Other libraries' words: each is answered in one line with ours, wherever it is typed."""

import dataclasses
import inspect

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import operant
from operant import catalogue, synonyms
from operant.agent import Agent
from operant.arguments import ARGUMENTS
from operant.cli import COMMANDS, main
from operant.commands import train as train_command
from operant.errors import OperantError
from operant.flags import flags_of
from operant.parts.describe import PARTS
from operant.parts.exploration import Boltzmann
from operant.parts.networks import GRU, MLP
from operant.words import answers_words, unknown_word

# Where a word is from, on which algorithm it is typed, the word, and the flag that it means here.
FLAGS = [
    ("Stable-Baselines3", "ppo", "--total-timesteps", "--steps"),
    ("Stable-Baselines3", "ppo", "--gamma", "--discount"),
    ("Stable-Baselines3", "ppo", "--n-envs", "--num-envs"),
    ("Stable-Baselines3", "ppo", "--n-steps", "--num-steps"),
    ("Stable-Baselines3", "ppo", "--n-epochs", "--num-epochs"),
    ("Stable-Baselines3", "ppo", "--batch-size", "--num-minibatches"),
    ("Stable-Baselines3", "ppo", "--clip-range", "--clip"),
    ("Stable-Baselines3", "ppo", "--ent-coef", "--entropy-coefficient"),
    ("Stable-Baselines3", "ppo", "--vf-coef", "--value-coefficient"),
    ("Stable-Baselines3", "ppo", "--max-grad-norm", "--max-gradient-norm"),
    ("Stable-Baselines3", "ppo", "--net-arch", "--network.hidden"),
    ("Stable-Baselines3", "ppo", "--activation-fn", "--network.activation"),
    ("Stable-Baselines3", "ppo", "--n-eval-episodes", "--episodes"),
    ("Stable-Baselines3", "ppo", "--policy-kwargs", "network.hidden"),
    ("Stable-Baselines3", "dqn", "--buffer-size", "--replay.capacity"),
    ("Stable-Baselines3", "dqn", "--learning-starts", "--warmup"),
    ("Stable-Baselines3", "dqn", "--train-freq", "--num-steps"),
    ("Stable-Baselines3", "dqn", "--gradient-steps", "--num-updates"),
    ("Stable-Baselines3", "dqn", "--target-update-interval", "--target-every"),
    ("Stable-Baselines3", "dqn", "--exploration-fraction", "--exploration.epsilon"),
    ("Stable-Baselines3", "dqn", "--exploration-final-eps", "--exploration.epsilon"),
    ("CleanRL", "ppo", "--env-id", "ENVIRONMENT"),
    ("CleanRL", "ppo", "--update-epochs", "--num-epochs"),
    ("CleanRL", "ppo", "--clip-coef", "--clip"),
    ("CleanRL", "ppo", "--anneal-lr", "linear(1e-3,0)"),
    ("CleanRL", "ppo", "--norm-adv", "normalised by the algorithm"),
    ("CleanRL", "ppo", "--capture-video", "operant watch"),
    ("CleanRL", "ppo", "--exp-name", "--out"),
    ("CleanRL", "dqn", "--target-network-frequency", "--target-every"),
    ("CleanRL", "dqn", "--train-frequency", "--num-steps"),
    ("CleanRL", "dqn", "--start-e", "--exploration.epsilon"),
    ("RLlib", "ppo", "--lr", "--learning-rate"),
    ("RLlib", "ppo", "--lambda_", "--gae-lambda"),
    ("RLlib", "ppo", "--clip-param", "--clip"),
    ("RLlib", "ppo", "--num-sgd-iter", "--num-epochs"),
    ("RLlib", "ppo", "--entropy-coeff", "--entropy-coefficient"),
    ("RLlib", "ppo", "--grad-clip", "--max-gradient-norm"),
    ("RLlib", "ppo", "--num-env-runners", "--num-envs"),
    ("RLlib", "ppo", "--fcnet-hiddens", "--network.hidden"),
    ("RLlib", "ppo", "--env-config", "--env-kwargs"),
    ("RLlib", "dqn", "--double-q", "--bootstrap"),
    ("RLlib", "dqn", "--train-batch-size", "--batch-size"),
    ("TRL", "ppo", "--cliprange", "--clip"),
    ("TRL", "ppo", "--num-ppo-epochs", "--num-epochs"),
    ("TRL", "ppo", "--num-mini-batches", "--num-minibatches"),
    ("TRL", "ppo", "--output-dir", "--out"),
    ("TRL", "ppo", "--lam", "--gae-lambda"),
    ("Gymnasium", "ppo", "--max-episode-steps", "max_episode_steps=500"),
    ("Gymnasium", "ppo", "--render-mode", "operant watch"),
    ("Gymnasium", "ppo", "--vectorization-mode", "--backend"),
]
# The same in Python, and what they are answered with.
PYTHON = {
    "model.predict": (lambda agent: agent.predict(np.zeros(4)), "write agent.act(observation)"),
    "model.learn": (lambda agent: agent.learn(total_timesteps=100), "operant.train(...)"),
    "model.load": (lambda agent: agent.load("x"), "operant.load(path)"),
    "model.get_env": (lambda agent: agent.get_env(), "agent.environment"),
    "model.set_env": (lambda agent: agent.set_env(None), "environment=..."),
    "algo.compute_single_action": (lambda agent: agent.compute_single_action(1), "write agent.act(observation)"),
    "algo.save_to_path": (lambda agent: agent.save_to_path("x"), "write agent.save(path)"),
    "policy.state_dict": (lambda agent: agent.state_dict(), "agent.policy"),
    "trainer.save_model": (lambda agent: agent.save_model("x"), "write agent.save(path)"),
    "a misspelling": (lambda agent: agent.evalute(), "did you mean 'evaluate'?"),
    "deterministic=": (lambda agent: agent.act(np.zeros(4), deterministic=True), "Operant calls it 'explore'"),
    "n_eval_episodes=": (lambda agent: agent.evaluate(n_eval_episodes=3), "Operant calls it 'episodes'"),
    "make_vec_env": (lambda agent: operant.make_vec_env("CartPole-v1"), "num_envs=8"),
    "evaluate_policy": (lambda agent: operant.evaluate_policy(agent), "agent.evaluate(episodes=100)"),
    "EvalCallback": (lambda agent: operant.EvalCallback(), "callback=function"),
    "VecNormalize": (lambda agent: operant.VecNormalize(), "normalise="),
    "PPOConfig": (lambda agent: operant.PPOConfig(), "operant.PPO("),
    "PPO(gamma=)": (lambda agent: operant.PPO(gamma=0.9), "argument of PPO 'gamma': Operant calls it 'discount'"),
    "DQN(buffer_size=)": (lambda agent: operant.DQN(buffer_size=9), "it is the capacity of 'replay'"),
    "train(total_timesteps=)": (lambda agent: operant.train("ppo", "CartPole-v1", total_timesteps=9), "it 'steps'"),
    "train(env=)": (lambda agent: operant.train("ppo", env="CartPole-v1"), "Operant calls it 'environment'"),
    "train(object, n_envs=)": (lambda agent: operant.train(operant.PPO(), "CartPole-v1", n_envs=9), "'num_envs'"),
    "load(env=)": (lambda agent: operant.load("x", env=None), "Operant calls it 'environment'"),
    "load(custom_objects=)": (lambda agent: operant.load("x", custom_objects={}), "Operant calls it 'algorithm'"),
    "resume(total_timesteps=)": (lambda agent: operant.resume("x", total_timesteps=9), "Operant calls it 'steps'"),
}  # fmt: skip


@pytest.fixture(scope="module")
def agent():
    spaces = Box(-1.0, 1.0, (4,)), Discrete(2)
    return Agent(operant.PPO(), None, {"algorithm": "ppo", "environment": "CartPole-v1", "seeds": [0]}, spaces)


@pytest.mark.parametrize(("library", "algorithm", "flag", "ours"), FLAGS, ids=[f"{row[0]} {row[2]}" for row in FLAGS])
def test_a_flag_of_another_library(library, algorithm, flag, ours, capsys, monkeypatch):
    monkeypatch.setattr(train_command, "run", lambda *arguments: pytest.fail("it trained"))
    assert main(["train", algorithm, "CartPole-v1", flag, "1"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"unknown flag {flag.rstrip('_')}" in err
    assert ours in err.partition(": ")[2].partition(": ")[2], err


@pytest.mark.parametrize("word", PYTHON)
def test_a_word_of_another_library_in_python(word, agent):
    use, ours = PYTHON[word]
    with pytest.raises((OperantError, AttributeError)) as error:
        use(agent)
    assert ours in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "ours"),
    [("learn", "train"), ("fit", "train"), ("eval", "evaluate"), ("enjoy", "watch"), ("envs", "environments")],
)
def test_a_command_of_another_library(typed, ours, capsys):
    assert main([typed]) == 2
    assert f"unknown command {typed!r}: did you mean {ours!r}?" in capsys.readouterr().err


def test_a_four_tuple_step_is_told_from_gymnasiums_five():
    from gymnasium.envs.classic_control import CartPoleEnv

    class Old(CartPoleEnv):
        def step(self, action):
            observation, reward, terminated, _, info = super().step(action)
            return observation, reward, terminated, info  # type: ignore[return-value]

    algorithm = operant.PPO(num_steps=8, num_minibatches=2, num_epochs=1, network=MLP((4,)))
    with pytest.raises(OperantError, match="split `done` into the two ends"):
        operant.train(algorithm, Old, num_envs=2, steps=16, progress="none")


def test_several_agents_point_to_one(agent):
    with pytest.raises(AttributeError, match=r"write agents\[0\].act\(observation\)"):
        operant.Agents([agent]).predict(np.zeros(4))


@pytest.mark.parametrize(
    ("their", "ours"),
    [
        ("predict", r"write learner.act\(observation\)"),
        ("remember", r"write learner.observe\(reward, terminated, truncated, next_observation\)"),
        ("evaluate_policy", r"write learner.agent.evaluate\("),
        ("observ", "did you mean 'observe'"),
    ],
)
def test_a_learner_answers_too(their, ours):
    learner = operant.Learner("random", "CartPole-v1")
    with pytest.raises(AttributeError, match=ours):
        getattr(learner, their)


def test_attributes_that_tools_look_for_are_quietly_absent(agent):
    import copy

    assert not hasattr(agent, "_repr_svg_") and not hasattr(agent, "__array__")
    assert copy.copy(agent).description == agent.description


def test_what_is_right_is_left_alone():
    @answers_words
    def area(width: float, height: float = 2.0) -> float:
        """Of a rectangle."""
        return width * height

    assert area(3.0) == 6.0 and area(3.0, height=1.0) == 3.0 and area.__doc__ == "Of a rectangle."
    assert list(inspect.signature(area).parameters) == ["width", "height"]
    with pytest.raises(OperantError, match=r"unknown argument of .*area 'heigth': did you mean 'height'"):
        area(3.0, heigth=1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="width"):
        area()  # type: ignore[call-arg]


def test_a_field_of_a_part_that_is_not_there_is_not_promised():
    known = [flag.name for flag in flags_of(dataclasses.replace(operant.DQN(), exploration=Boltzmann()))]
    assert "exploration.temperature" in known
    assert "exploration.epsilon" not in str(unknown_word("flag", "exploration_fraction", known, advice="see --help"))
    known = [flag.name for flag in flags_of(operant.PPO(network=GRU()))]
    assert "network.size" in str(unknown_word("flag", "lstm_hidden_size", known))


def test_every_word_leads_somewhere():
    """A table entry whose answer no algorithm, part or function has is dead."""
    from operant import api

    makers = [entry.make for entry in catalogue.ENTRIES] + list(PARTS.values())
    fields = {field.name for maker in makers for field in dataclasses.fields(maker)}
    functions = (api.train, api.resume, api.load, Agent.act, Agent.evaluate, Agent.reset)
    known = fields | {name for function in functions for name in inspect.signature(function).parameters}
    known |= set(ARGUMENTS) | {"episodes"}
    dead = {their for their, ours in synonyms.WORDS.items() if not any(o.split(".")[-1] in known for o in ours.split())}
    assert not dead
    assert set(synonyms.COMMANDS.values()) <= set(COMMANDS) and not set(synonyms.COMMANDS) & set(COMMANDS)
    for their, ours in {**synonyms.PACKAGE, **synonyms.AGENT}.items():
        owner, name = (operant, ours[8:]) if ours.startswith("operant.") else (Agent, ours[6:])
        name = name[: next((i for i, c in enumerate(name) if not (c.isalnum() or c == "_")), len(name))]
        attributes = {"environment", "policy", "description", "history"}  # set in __init__
        assert hasattr(owner, name) or name in attributes, (their, ours)
    assert all(
        hasattr(operant.Learner, ours.removeprefix("learner.").partition("(")[0].partition(".")[0])
        for ours in synonyms.LEARNER.values()
        if ours.startswith("learner.")
    )
