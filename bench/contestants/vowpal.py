"""Vowpal Wabbit: its C++ driver over a whole file, logistic loss, default update, one pass.

``text`` reads VW text, ``cache`` its binary cache, which ``make-cache`` writes beforehand.
The driver parses and learns on two threads, like the command line.
"""

import numpy as np
import vowpalwabbit

from bench.stopwatch import Stopwatch, contestant_arguments


def drive(*options):
    """Run the driver; return the mean loss of the examples before they were learned."""
    workspace = vowpalwabbit.Workspace(arg_list=[*options, "--quiet"])
    loss = workspace.get_sum_loss() / workspace.get_weighted_examples()
    workspace.finish()
    return loss


def main():
    """Run one measured training."""
    arguments = contestant_arguments("text", "cache", "make-cache")
    text, cache = (arguments.data / name for name in ("train.vw", f"train-{arguments.bits}.cache"))
    learn = ["--loss_function", "logistic", "-b", str(arguments.bits)]
    if arguments.variant == "make-cache":
        cache.unlink(missing_ok=True)
        drive(*learn, "-d", str(text), "--cache_file", str(cache))
    source = ["-d", str(text)]
    if arguments.variant == "cache":
        if not cache.is_file():
            raise SystemExit(f"{cache} is missing; run make-cache first")
        source += ["--cache_file", str(cache)]
    watch, model = Stopwatch(), arguments.result.with_suffix(".vwmodel")
    keep = ["-f", str(model)] if arguments.predict else []
    watch.start()
    with watch.phase("all"):
        loss = drive(*learn, *source, *keep)
    watch.stop(arguments.meta["n_train"])
    if arguments.predict:
        answers = arguments.result.with_suffix(".txt")
        held_out = str(arguments.data / "test.vw")
        drive("-t", "-i", str(model), "-d", held_out, "-p", str(answers), "--link", "logistic")
        np.save(arguments.predict, np.loadtxt(answers))
    versions = {"vowpalwabbit": vowpalwabbit.__version__}
    watch.write(arguments.result, versions=versions, progressive_log_loss=loss)


if __name__ == "__main__":
    main()
