"""River: logistic regression with hashing, one row at a time in Python, on the first 20,000 rows."""

import csv
from itertools import islice

import numpy as np
import river
from river import linear_model, optim, preprocessing

from bench.stopwatch import Stopwatch, contestant_arguments

N_ROWS = 20_000


def rows(path):
    """Yield the 22 fields of each row as a dictionary, with its label."""
    with path.open(newline="") as lines:
        for row in csv.DictReader(lines):
            del row["id"]
            row["hour_of_day"] = row.pop("hour")[-2:]
            label = row.pop("click") == "1"
            yield row, label


def main():
    """Run one measured training."""
    arguments = contestant_arguments("csv")
    hasher = preprocessing.FeatureHasher(n_features=2**arguments.bits, seed=7)
    model = hasher | linear_model.LogisticRegression(optim.AdaGrad(0.1))
    watch, n_rows = Stopwatch(), 0
    watch.start()
    with watch.phase("all"):
        for row, label in islice(rows(arguments.data / "train.csv"), N_ROWS):
            model.learn_one(row, label)
            n_rows += 1
    watch.stop(n_rows)
    if arguments.predict:
        held_out = rows(arguments.data / "test.csv")
        p_click = [model.predict_proba_one(row).get(True, 0.5) for row, _ in held_out]
        np.save(arguments.predict, np.array(p_click))
    watch.write(arguments.result, versions={"river": river.__version__})


if __name__ == "__main__":
    main()
