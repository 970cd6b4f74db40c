"""Vowpal Wabbit in the peers' environment: passes until validation loss rises, or a number of passes, timed.

The task is a JSON file: ``options``, ``train`` and ``held_out`` (VW text), ``labels`` (.npy of the held-out rows), ``n_passes``
and ``until_worse``. The answer has ``losses`` after each pass, or ``cpu_s``, and the predictions lie beside it.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import vowpalwabbit


def drive(*options):
    """Run the driver to the end of its data, as the command line does."""
    vowpalwabbit.Workspace(arg_list=[*options, "--quiet"]).finish()


def predict(model, text, work):
    """Return the click probabilities of VW text."""
    answers = work / "answers.txt"
    drive("-t", "-i", str(model), "-d", text, "-p", str(answers), "--link", "logistic")
    return np.loadtxt(answers)


def loss_of(labels, p_click):
    """Return the log loss in nats."""
    p = np.clip(p_click, 1e-12, 1 - 1e-12)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def search(task, work):
    """Return validation losses pass by pass, up to the first that is higher; each pass resumes from the state before.

    Rates are not part of the state: without the options a pass would go on at the defaults.
    """
    source, labels, losses = ["-d", task["train"]], np.load(task["labels"]), []
    source += ["--cache_file", str(work / "train.cache")]
    for number in range(task["n_passes"]):
        model = work / f"pass-{number}.vw"
        before = ["-i", str(work / f"pass-{number - 1}.vw")] if number else []
        drive(*before, *task["options"], *source, "-f", str(model), "--save_resume")
        losses.append(loss_of(labels, predict(model, task["held_out"], work)))
        if losses[-1] > min(losses):
            break
    return {"losses": losses}


def train(task, work):
    """Return the processor time of the passes over the binary cache, which is written beforehand; and predict."""
    source = ["-d", task["train"], "--cache_file", str(work / "train.cache")]
    drive(*task["options"], *source)
    model = work / "model.vw"
    passes = ["--passes", str(task["n_passes"]), "--holdout_off"]
    since = time.process_time()
    drive(*task["options"], *source, *passes, "-f", str(model))
    cpu_s = time.process_time() - since
    np.save(work / "p_click.npy", predict(model, task["held_out"], work))
    return {"cpu_s": cpu_s}


def main():
    """Do one task."""
    path = Path(sys.argv[1])
    task = json.loads(path.read_text())
    found = (search if task["until_worse"] else train)(task, path.parent)
    (path.parent / "result.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
