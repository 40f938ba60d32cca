"""Networks: recipes for them, the layers that they are made of, and the heads that algorithms read."""

from operant.parts.networks.layer_norm import LayerNorm
from operant.parts.networks.recipes import GRU, MLP, MinAtarCNN, NatureCNN, Recipe
from operant.parts.networks.value_networks import Dueling, Noisy

__all__ = ["GRU", "MLP", "Dueling", "LayerNorm", "MinAtarCNN", "NatureCNN", "Noisy", "Recipe"]
