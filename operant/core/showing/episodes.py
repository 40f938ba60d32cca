"""Recording an episode as an animated GIF, played greedily on an environment that can draw itself."""

import functools
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from operant.contracts import Foreseeing, Outlook
from operant.core.runs.files import replace_file
from operant.core.showing.notebook import picture
from operant.core.showing.panels import beside
from operant.environments import Compiled, Host, make
from operant.environments.atari import is_game
from operant.errors import OperantError
from operant.finite.named import problem_names
from operant.workers.masking import MaskObserved, has_mask

FRAMES = 120  # at most, evenly spaced over the episode
WIDTH = 300  # pixels, at most
CELL = 20  # pixels of one cell of a grid
LONGEST = 5_000  # steps; an episode without an end is cut here, or after SECONDS
SECONDS = 5.0
FRAMES_PER_SECOND = 30

Moment: TypeAlias = tuple[Any, Outlook | None]  # a picture (an array, where there is one) and what is expected


class Episode:
    """A greedy episode as an animated GIF, shown in a notebook."""

    def __init__(self, gif: bytes):
        self.gif = gif

    def save(self, path: str | Path) -> None:
        """Write it to `path`, at once. Raises `CheckpointError` where that fails."""
        replace_file(Path(path), self.gif)

    def _repr_html_(self) -> str:
        return picture(self.gif, "an episode", "image/gif")


def played(agent: Any, environment: Any = None, seed: int = 0) -> Episode:
    """Play one greedy episode and draw it, with what the agent expects of each action beside it where it can tell.

    A compiled environment is drawn by its Gymnasium twin, or as coloured cells where it is a grid `[H, W, C]`. Raises
    `OperantError` where there is no picture, whatever went wrong in a renderer.
    """
    environment = environment if environment is not None else agent.environment
    try:
        # Without a window system or a sound card, and without the greeting that pygame prints to standard output.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames, outlooks = _thinned(_play(agent, environment, seed))
            if not frames:
                raise OperantError("the environment draws nothing")
            return Episode(_gif(beside(frames, outlooks) if outlooks else frames))
    except Exception as error:
        raise OperantError(str(error).strip().partition("\n")[0] or type(error).__name__) from error


def record(agent: Any, path: Path, environment: Any = None, seed: int = 0) -> str | None:
    """Write an episode to `path`; None, or one line that says why there is none: nothing here is raised."""
    try:
        played(agent, environment, seed).save(path)
    except OperantError as error:
        return f"no {path.name}: {error}"
    return None


def _play(agent: Any, environment: Any, seed: int) -> Iterator[Callable[[], Moment]]:
    """For each moment of the episode, how to draw it and what is expected of it: few are drawn."""
    import gymnasium

    world: Any
    kwargs = agent.description.get("env_kwargs") or {}
    compiled = agent.description.get("backend") == "compiled"
    if is_game(environment):
        yield from _play_game(agent, make(environment, 1, kwargs=kwargs), seed)
        return
    if isinstance(environment, str) and (":" in environment or environment in gymnasium.registry):
        if compiled and kwargs and environment not in problem_names():
            raise ValueError("the renderer cannot draw a compiled environment whose parameters were changed")
        world = gymnasium.make(environment, render_mode="rgb_array", **kwargs)
    elif compiled and isinstance(environment, str):
        grid = make(environment, 1, "compiled", kwargs)
        assert isinstance(grid, Compiled)
        yield from _play_grid(agent, grid, seed)
        return
    elif callable(environment):
        world = environment(render_mode="rgb_array", **kwargs)
    else:
        raise ValueError("only an environment with a name or a factory can be drawn")
    if has_mask(agent.observation_space) and not has_mask(world.observation_space):
        world = MaskObserved(world)
    # The twin's arrays may be shaped otherwise: [1] for a scalar, or the reverse.
    shape = agent.observation_space.shape
    fitted = (lambda seen: seen) if shape is None else (lambda seen: np.reshape(seen, shape))
    try:
        observation, _ = world.reset(seed=seed)
        memory, ended = agent.start(), False
        while not ended:
            yield functools.partial(_moment, world.render, agent, fitted(observation), memory)
            action, memory = agent.act(fitted(observation), memory)
            observation, _, terminated, truncated, _ = world.step(np.reshape(action, world.action_space.shape))
            ended = terminated or truncated
        yield functools.partial(_moment, world.render, agent, fitted(observation), memory)
    finally:
        world.close()


def _moment(draw: Callable[[], Any], agent: Any, observation: Any, memory: Any) -> Moment:
    foresees = isinstance(getattr(agent, "algorithm", None), Foreseeing)
    return draw(), agent.outlook(observation, memory) if foresees else None


def _play_grid(agent: Any, world: Compiled, seed: int) -> Iterator[Callable[[], Moment]]:
    """Observations `[H, W, C]` of a compiled environment without a renderer, one colour for each channel."""
    import gymnasium
    import jax

    shape = world.observation_space.shape or ()
    if len(shape) != 3 or not isinstance(world.action_space, gymnasium.spaces.Discrete):
        raise ValueError(f"{world.name} has no renderer")
    key = jax.random.key(seed)
    step = jax.jit(world.step)
    worlds, observation = jax.jit(world.reset, static_argnums=1)(key, 1)
    memory = agent.start()
    for t in range(LONGEST):
        seen = np.asarray(observation)[0]
        yield functools.partial(_moment, functools.partial(_cells, seen), agent, seen, memory)
        action, memory = agent.act(observation, memory)
        worlds, seen = step(jax.random.fold_in(key, t), worlds, np.asarray(action))
        observation = seen.observation
        if bool((seen.terminated | seen.truncated)[0]):
            break


def _cells(observation: np.ndarray) -> np.ndarray:
    """A picture uint8 `[H CELL, W CELL, 3]`; later channels cover earlier ones."""
    import colorsys

    picture = np.full((*observation.shape[:2], 3), 24, np.uint8)
    for channel in range(observation.shape[2]):
        colour = np.array(colorsys.hsv_to_rgb(channel / observation.shape[2], 0.65, 0.95)) * 255
        picture[observation[..., channel] > 0] = colour.astype(np.uint8)
    return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def _play_game(agent: Any, world: Compiled | Host, seed: int) -> Iterator[Callable[[], Moment]]:
    """An Atari game as the agent sees it: the newest of the frames that it observes."""
    assert isinstance(world, Host)
    try:
        observation, memory, ended = world.reset(seed), agent.start(), False
        for _ in range(LONGEST):
            seen = observation[0]
            yield functools.partial(_moment, functools.partial(_newest, seen), agent, seen, memory)
            if ended:
                break
            action, memory = agent.act(observation, memory)
            step = world.step(np.asarray(action))
            ended = bool(step.terminated[0] | step.truncated[0])
            observation = step.next_observation if ended else step.observation
    finally:
        world.close()


def _newest(observation: np.ndarray) -> np.ndarray:
    """The last frame of a stack `[84, 84, 4]`, twice as large: uint8 `[168, 168, 3]`."""
    return np.repeat(observation[..., -1:], 3, axis=-1).repeat(2, axis=0).repeat(2, axis=1)


def _thinned(moments: Iterator[Callable[[], Moment]]) -> tuple[list[Any], list[Outlook]]:
    """At most `FRAMES` pictures, evenly spaced, of an episode whose length is not known before its end.

    And what was expected in each, or nothing where the agent cannot tell.
    """
    frames, every, begun = [], 1, time.monotonic()
    for t, draw in enumerate(moments):
        if t % every == 0:
            drawn, outlook = draw()
            if not isinstance(drawn, np.ndarray):
                return [], []
            frames.append((_small(drawn), outlook))
            if len(frames) > FRAMES:
                frames, every = frames[::2], 2 * every
        if t >= LONGEST or time.monotonic() - begun > SECONDS:
            break
    pictures, outlooks = zip(*frames, strict=True)
    return list(pictures), [outlook for outlook in outlooks if outlook is not None]


def _small(picture: np.ndarray) -> Any:
    from PIL import Image

    image = Image.fromarray(picture)
    # Averages over whole squares of pixels: several times faster than resampling to an exact width.
    return image.reduce(-(-image.width // WIDTH)).convert("RGB")


def _gif(frames: list[Any]) -> bytes:
    from PIL import Image

    # One palette for all, of small copies of every picture: no flicker, and fewer bytes.
    small = [frame.reduce(4) for frame in frames]
    height = small[0].height
    mosaic = Image.new("RGB", (small[0].width, height * len(small)))
    for row, frame in enumerate(small):
        mosaic.paste(frame, (0, row * height))
    palette, data = mosaic.quantize(256), io.BytesIO()
    first, *others = [frame.quantize(palette=palette, dither=0) for frame in frames]
    first.save(data, "GIF", save_all=True, append_images=others, duration=1000 // FRAMES_PER_SECOND, loop=0)
    return data.getvalue()
