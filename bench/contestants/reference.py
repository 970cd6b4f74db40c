"""The pipeline of the reference hands-on: the whole CSV as rows of strings, FeatureHasher, SGDClassifier.fit.

As there, values are hashed without their field names, and all defaults are kept except the loss
(hinge gives no probability): alpha 1e-4, up to 1000 epochs until the loss stops improving.
"""

import numpy as np
import pandas as pd
import sklearn
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier

from bench.stopwatch import Stopwatch, contestant_arguments


def read(path):
    """Return the 22 fields as strings, and the labels."""
    frame = pd.read_csv(path, dtype=str)
    frame["hour_of_day"] = frame.pop("hour").str[-2:]
    label = frame.pop("click").astype(int).to_numpy()
    return frame.drop(columns="id"), label


def main():
    """Run one measured training."""
    arguments = contestant_arguments("csv")
    hasher = FeatureHasher(n_features=2**arguments.bits, input_type="string")
    model = SGDClassifier(loss="log_loss", random_state=7)
    watch = Stopwatch()
    watch.start()
    with watch.phase("read"):
        frame, label = read(arguments.data / "train.csv")
    with watch.phase("hash"):
        rows = hasher.transform(np.asanyarray(frame))
    with watch.phase("learn"):
        model.fit(rows, label)
    watch.stop(len(label))
    if arguments.predict:
        frame, _ = read(arguments.data / "test.csv")
        p_click = model.predict_proba(hasher.transform(np.asanyarray(frame)))[:, 1]
        np.save(arguments.predict, p_click)
    versions = {"scikit-learn": sklearn.__version__, "pandas": pd.__version__}
    watch.write(arguments.result, versions=versions, n_epochs=int(model.n_iter_))


if __name__ == "__main__":
    main()
