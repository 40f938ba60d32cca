"""Recording an episode as an animated GIF, played greedily on an environment that can draw itself."""

import functools
import io
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from operant.core._files import replace_file
from operant.environments import Compiled, make
from operant.finite.named import problem_names
from operant.workers.masking import MaskObserved, has_mask

FRAMES = 120  # at most, evenly spaced over the episode
WIDTH = 300  # pixels, at most
CELL = 20  # pixels of one cell of a grid
LONGEST = 5_000  # steps; an episode without an end is cut here, or after SECONDS
SECONDS = 5.0
FRAMES_PER_SECOND = 30


def record(agent: Any, path: Path, environment: Any = None, seed: int = 0) -> str | None:
    """Play one greedy episode and write it to `path`; None, or one line that says why there is no picture.

    A compiled environment is drawn by its Gymnasium twin, or as coloured cells where it is a grid `[H, W, C]`.
    Whatever goes wrong with a renderer is told, never raised; so is a file that cannot be written.
    """
    environment = environment if environment is not None else agent.environment
    try:
        # Without a window system or a sound card, and without the greeting that pygame prints to standard output.
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
        os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frames = _thinned(_play(agent, environment, seed))
            if not frames:
                return f"no {path.name}: the environment draws nothing"
            replace_file(path, _gif(frames))
    except Exception as error:
        return f"no {path.name}: {str(error).strip().partition(chr(10))[0] or type(error).__name__}"
    return None


def _play(agent: Any, environment: Any, seed: int) -> Iterator[Callable[[], Any]]:
    """For each moment of the episode, how to draw it: few are drawn."""
    import gymnasium

    world: Any
    kwargs = agent.description.get("env_kwargs") or {}
    compiled = agent.description.get("backend") == "compiled"
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
    try:
        agent.reset()
        observation, _ = world.reset(seed=seed)
        yield world.render
        ended = False
        while not ended:
            # The twin's arrays may be shaped otherwise: [1] for a scalar, or the reverse.
            shape = agent.observation_space.shape
            action = agent.act(observation if shape is None else np.reshape(observation, shape))
            observation, _, terminated, truncated, _ = world.step(np.reshape(action, world.action_space.shape))
            ended = terminated or truncated
            yield world.render
    finally:
        agent.reset()
        world.close()


def _play_grid(agent: Any, world: Compiled, seed: int) -> Iterator[Callable[[], np.ndarray]]:
    """Observations `[H, W, C]` of a compiled environment without a renderer, one colour for each channel."""
    import gymnasium
    import jax

    shape = world.observation_space.shape or ()
    if len(shape) != 3 or not isinstance(world.action_space, gymnasium.spaces.Discrete):
        raise ValueError(f"{world.name} has no renderer")
    key = jax.random.key(seed)
    step = jax.jit(world.step)
    worlds, observation = jax.jit(world.reset, static_argnums=1)(key, 1)
    agent.reset()
    for t in range(LONGEST):
        yield functools.partial(_cells, np.asarray(observation)[0])
        worlds, seen = step(jax.random.fold_in(key, t), worlds, np.asarray(agent.act(observation)))
        observation = seen.observation
        if bool((seen.terminated | seen.truncated)[0]):
            break
    agent.reset()


def _cells(observation: np.ndarray) -> np.ndarray:
    """A picture uint8 `[H CELL, W CELL, 3]`; later channels cover earlier ones."""
    import colorsys

    picture = np.full((*observation.shape[:2], 3), 24, np.uint8)
    for channel in range(observation.shape[2]):
        colour = np.array(colorsys.hsv_to_rgb(channel / observation.shape[2], 0.65, 0.95)) * 255
        picture[observation[..., channel] > 0] = colour.astype(np.uint8)
    return picture.repeat(CELL, axis=0).repeat(CELL, axis=1)


def _thinned(moments: Iterator[Callable[[], Any]]) -> list[Any]:
    """At most `FRAMES` pictures, evenly spaced, of an episode whose length is not known before its end."""
    frames, every, begun = [], 1, time.monotonic()
    for t, draw in enumerate(moments):
        if t % every == 0:
            picture = draw()
            if not isinstance(picture, np.ndarray):
                return []
            frames.append(_small(picture))
            if len(frames) > FRAMES:
                frames, every = frames[::2], 2 * every
        if t >= LONGEST or time.monotonic() - begun > SECONDS:
            break
    return frames


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
