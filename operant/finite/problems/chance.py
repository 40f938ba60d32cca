"""Games and businesses of chance: the gambler, Jack's car rental, blackjack."""

import numpy as np

from operant.finite.mdp import MDP

TWENTY_ONE = 21


def gambler(win: float = 0.4, goal: int = 100) -> MDP:
    """Sutton & Barto, 2nd ed., example 4.3: states are the capital, action k stakes k + 1; reward 1 at the goal."""

    def outcomes(capital: int, action: int) -> list[tuple[float, int, float, bool]]:
        stake = action + 1
        if stake > min(capital, goal - capital):
            return []
        won = capital + stake
        return [(win, won, float(won == goal), False), (1.0 - win, capital - stake, 0.0, False)]

    return MDP.from_function(goal + 1, goal // 2, outcomes, terminal=[0, goal], discount=1.0)


def car_rental(capacity: int = 20, max_move: int = 5) -> MDP:
    """Example 4.2, with the full Poisson distributions: nothing is truncated but the car park; γ = .9.

    State i * (capacity + 1) + j has i and j cars; action a moves a - max_move cars from the first to the second for
    2 each, legal where there are so many; cars beyond the capacity go away. Requests average 3 and 4, returns 3 and
    2, a rental pays 10. The reward of an outcome is its mean given the next state.
    """
    sizes = capacity + 1
    (first, first_pay), (second, second_pay) = _location(capacity, 3.0, 3.0), _location(capacity, 4.0, 2.0)
    states, actions = np.divmod(np.arange(sizes * sizes * (2 * max_move + 1)), 2 * max_move + 1)
    moved = actions - max_move
    here, there = states // sizes, states % sizes
    legal = (moved <= here) & (-moved <= there)
    states, actions, moved = states[legal], actions[legal], moved[legal]
    here = np.minimum(here[legal] - moved, capacity)
    there = np.minimum(there[legal] + moved, capacity)
    chances = (first[here][:, :, None] * second[there][:, None, :]).reshape(len(states), -1)
    rewards = (first_pay[here][:, :, None] + second_pay[there][:, None, :]).reshape(len(states), -1)
    rewards -= 2.0 * np.abs(moved)[:, None]
    targets = np.broadcast_to(np.arange(sizes * sizes), chances.shape)
    keep = chances > 0
    rows = np.broadcast_to(np.arange(len(states))[:, None], chances.shape)[keep]
    labels = [f"{i},{j}" for i in range(sizes) for j in range(sizes)]
    return MDP.from_triples(
        sizes * sizes, 2 * max_move + 1, states[rows], actions[rows], targets[keep], chances[keep], rewards[keep],
        discount=0.9, state_labels=labels, action_labels=[str(a) for a in range(-max_move, max_move + 1)],
    )  # fmt: skip


def _location(capacity: int, requests: float, returns: float) -> tuple[np.ndarray, np.ndarray]:
    """From n cars to m at the day's end: probabilities and mean earnings given m, both `[n, m]`."""
    from scipy.stats import poisson

    counts = np.arange(capacity + 1)
    chances, earned = np.zeros((2, capacity + 1, capacity + 1))
    for cars in counts:
        rented = poisson.pmf(counts[: cars + 1], requests)
        rented[cars] = poisson.sf(cars - 1, requests)  # everyone beyond the last car goes away
        for out, chance in enumerate(rented):
            left = cars - out
            back = poisson.pmf(counts[: capacity - left + 1], returns)
            back[-1] = poisson.sf(capacity - left - 1, returns)
            chances[cars, left:] += chance * back
            earned[cars, left:] += chance * back * 10.0 * out
    return chances, np.divide(earned, chances, out=np.zeros_like(earned), where=chances > 0)


# Hands in the order of the states: (sum, usable ace), each against dealer cards 1 (ace) to 10.
_HANDS = [(total, False) for total in range(4, 22)] + [(total, True) for total in range(12, 22)]
_CARDS = [(card, 4 / 13 if card == 10 else 1 / 13) for card in range(1, 11)]


def blackjack_state(total: int, dealer: int, usable_ace: bool) -> int:
    """The state of `blackjack` in which Gymnasium's Blackjack-v1 shows `(total, dealer, usable_ace)`."""
    return _HANDS.index((int(total), bool(usable_ace))) * 10 + dealer - 1


def blackjack() -> MDP:
    """Example 5.1 with an infinite deck: Gymnasium's Blackjack-v1 with `sab=False, natural=False`. 0 sticks, 1 hits.

    A natural counts as any 21, a win pays 1. The last state is the end. The start distribution is the deal.
    """
    end = len(_HANDS) * 10
    dealers = {card: _dealer(*_add(0, False, card)) for card in range(1, 11)}

    def outcomes(state: int, action: int) -> list[tuple[float, int, float, bool]]:
        (total, usable), dealer = _HANDS[state // 10], state % 10 + 1
        found: dict[tuple[int, float], float] = {}
        if action == 0:
            for result, chance in dealers[dealer].items():
                key = (end, float(np.sign(total - (result if result <= TWENTY_ONE else 0))))
                found[key] = found.get(key, 0.0) + chance
        else:
            for card, chance in _CARDS:
                new, ace = _add(total, usable, card)
                key = (end, -1.0) if new > TWENTY_ONE else (blackjack_state(new, dealer, ace), 0.0)
                found[key] = found.get(key, 0.0) + chance
        return [(chance, target, reward, False) for (target, reward), chance in found.items()]

    start = np.zeros(end + 1)
    for one, chance_one in _CARDS:
        for two, chance_two in _CARDS:
            total, ace = _add(*_add(0, False, one), two)
            for dealer, chance in _CARDS:
                start[blackjack_state(total, dealer, ace)] += chance_one * chance_two * chance
    labels = [f"{total},{dealer},{ace}" for total, ace in _HANDS for dealer in range(1, 11)] + ["end"]
    return MDP.from_function(
        end + 1, 2, outcomes, terminal=[end], start=start, discount=1.0, state_labels=labels,
        action_labels=("stick", "hit"),
    )  # fmt: skip


def _add(total: int, usable: bool, card: int) -> tuple[int, bool]:
    """A hand after another card: an ace counts eleven while that does not bust."""
    hard = total - 10 * usable + card
    soft = usable or card == 1
    return (hard + 10, True) if soft and hard + 10 <= TWENTY_ONE else (hard, False)


def _dealer(total: int, usable: bool) -> dict[int, float]:
    """The distribution of the dealer's final sum, who draws to 17."""
    if total >= 17:
        return {total: 1.0}
    sums: dict[int, float] = {}
    for card, chance in _CARDS:
        for final, share in _dealer(*_add(total, usable, card)).items():
            sums[final] = sums.get(final, 0.0) + chance * share
    return sums
