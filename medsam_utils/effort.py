"""What a mask costs a person: clicking until it is good enough, against drawing its outline by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .statistics import GROUP, clicks_to, interval, iou_by_click, patients_of


@dataclass(frozen=True)
class Costs:
    """Seconds of a person's work on one object.

    first: of the first click. correction: of each further one, with the look at the mask that it takes to
    find the error. drawing: of the outline by hand.
    """

    first: float
    correction: float
    drawing: float

    def clicking(self, clicks: np.ndarray, missed: np.ndarray) -> np.ndarray:
        """Seconds for each object: its clicks, and the outline by hand where they never suffice.

        clicks, missed: as `statistics.clicks_to` gives them; whoever clicks learns only at the end of the
        clicks that they do not suffice, so a missed object costs all of them.

        >>> Costs(2, 5, 80).clicking(np.array([1, 3]), np.array([False, True])).tolist()
        [2, 92]
        """
        return self.first + self.correction * (clicks - 1) + self.drawing * missed

    def break_even(self, clicks: np.ndarray, missed: np.ndarray) -> float:
        """Seconds that a click, first or not, may take on average before drawing is the cheaper way.

        >>> Costs(2, 5, 80).break_even(np.array([1, 3]), np.array([False, True]))
        20.0
        """
        return float(self.drawing * (1 - missed.mean()) / clicks.mean())


def effort(rows: pd.DataFrame, costs: Costs, targets: tuple[float, ...] = (0.8, 0.85, 0.9)) -> pd.DataFrame:
    """Seconds a mean object costs until its IoU reaches a target, by task, model, level and target.

    Columns besides: objects, clicks (mean, as NoC), missed (share, 0..1), seconds with its 95 % interval low
    to high (patients resampled), saved (part of the drawing's seconds, below 0 where clicking costs more) and
    break_even (seconds a click). Objects whose IoU is undefined are left out.
    """
    lines = []
    for key, table in iou_by_click(rows).dropna(how="all").groupby(GROUP, sort=False):
        most = float(costs.clicking(np.array(table.shape[1]), np.array(True)))
        for target in targets:
            clicks, missed = clicks_to(table.to_numpy(), target)
            seconds = costs.clicking(clicks, missed)
            ends = interval(seconds[:, None], patients_of(table), within=(costs.first, most))[:, 0]
            line = dict(zip(GROUP, key, strict=True)) | {"target": target, "objects": len(table)}
            line |= {"clicks": clicks.mean(), "missed": missed.mean(), "seconds": seconds.mean()}
            line |= dict(zip(("low", "high"), ends, strict=True))
            line |= {"saved": 1 - seconds.mean() / costs.drawing}
            lines.append(line | {"break_even": costs.break_even(clicks, missed)})
    return pd.DataFrame(lines)
