"""The answer of ``hash_features``: how many bits are enough, and why."""

import pandas as pd
import pytest

from tasks.figures.hash_features import answer


def report(losses, error=0.001):
    table = pd.DataFrame({"valid_log_loss": losses}).rename_axis("bits")
    excess = table["valid_log_loss"] - table["valid_log_loss"].min()
    more = {"excess": excess, "excess_se": error * (excess > 0), "n_tokens": 5000}
    return table.assign(**more, colliding_share=0.25, colliding_rows_share=0.5)


@pytest.mark.parametrize(
    ("losses", "chosen", "sentences"),
    [
        (
            {14: 0.45, 16: 0.401, 18: 0.40},
            16,
            [
                "16 bits are enough in this trial, and chosen",
                "16 bits are 0.00100 (± 0.00200) above it",
            ],
        ),
        (
            {14: 0.45, 16: 0.41, 18: 0.40},
            14,
            ["18 bits are enough", "No smaller number comes within", "set `hash.bits` to 18"],
        ),
        (
            {14: 0.40, 16: 0.40, 18: 0.40},
            18,
            ["14 bits are enough", "No smaller number was tried", "1 MB instead of 64 KB"],
        ),
        ({14: 0.40}, 14, ["14 bits are enough in this trial, and chosen"]),
    ],
)
def test_the_fewest_bits_within_the_noise_are_enough(losses, chosen, sentences):
    """Two standard errors of the paired difference; ties go to fewer bits."""
    text = answer(report(losses), chosen=chosen, n_rows=1000)
    assert [sentence for sentence in sentences if sentence not in text] == []
    assert f"5,000 distinct tokens meet {2**chosen:,} weights" in text
    assert "25.0% of them share a weight, and so do 50.0%" in text
