"""Where a learner's critic stands beside its actor: in a network of its own, or as a second head on the same body."""

import math

from operant.parts.component import check_positive, check_range, component
from operant.parts.schedules import Scalar


@component
class Separate:
    """Actor and critic are two networks; nothing that one learns disturbs the other."""

    learning_rate: Scalar | None = None  # of an optimiser of the critic's own; none: one optimiser for both
    clip: Scalar | None = None  # values gain nothing by leaving the old ones further than this; none: free

    def check_ranges(self) -> None:
        check_range(self, 0, math.inf, "learning_rate")
        if self.clip is not None:
            check_positive(self, "clip")


@component
class Shared:
    """One body with the policy's head and the value's, taught by both losses."""

    clip: Scalar | None = None  # as in `Separate`

    def check_ranges(self) -> None:
        if self.clip is not None:
            check_positive(self, "clip")
