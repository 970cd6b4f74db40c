"""A day and a failure in words: short titles, texts of bounded size, nothing that breaks a line."""

from tasks.notices.facts import Served, Told, learned_facts, served_facts
from tasks.notices.text import MAX_TITLE, day_notice, failure_notice
from tasks.pipeline.executor import Failure


def facts_of(run):
    """Return what there is to tell."""
    learned = learned_facts(run.products, str(run.ledger))
    return Told(learned=learned, served=served_facts(run.products))


def test_a_day_before_anything_ran_says_so(run):
    """There is a title, and no section."""
    notice = day_notice(facts_of(run), Told())
    assert notice.title == "Clicklab: nothing to tell yet"
    assert notice.events == {"day"}


def test_a_day_has_metrics_decisions_fields_drift_and_alerts(run):
    """Each in its own section."""
    run.evaluate(1)
    run.monitor(3, alerts=["page"], ratio=1.2)
    notice = day_notice(facts_of(run), Told(), cost="Cost: 9 s")
    assert notice.title == "ctr-shop: ftrl promoted, log loss 0.4300, 1 open alert"
    assert notice.events == {"day", "promotion", "alert"}
    for line in (
        "Models on 1,807 test rows of shop.csv",
        "  ftrl: log loss 0.4300, normalized entropy 0.8800, AUC 0.7300, calibration 1.010",
        "  ftrl: promoted, version 1",
        "  champion: ftrl, version 1",
        "  page 0.0200",
        "  page 0.310 (0.040)",
        "  unseen page: page: half of the values are new",
        "Cost: 9 s",
    ):
        assert line in notice.text.splitlines()
    assert "predicted 1.200 times that (1.100 to 1.300), log loss 0.3000" in notice.text


def test_a_refusal_leaves_the_champion(run):
    """Its reasons are told, and who serves."""
    run.evaluate(1)
    run.evaluate(2, decision="refused", reasons=["calibration ratio 1.4", "worse by 3%"])
    notice = day_notice(facts_of(run), Told())
    assert notice.title == "ctr-shop: champion stays, log loss 0.4300"
    assert "  ftrl: refused: calibration ratio 1.4; worse by 3%" in notice.text
    assert "  champion: ftrl, version 1" in notice.text
    assert notice.events == {"day", "refusal"}


def test_many_alerts_and_long_lines_stay_short():
    """What a log puts into a sentence cannot make a notice that a receiver refuses."""
    alerts = {f"psi field{n}": "x" * 10_000 for n in range(500)}
    told = Told(served=Served("a", "b", [], [], alerts, []))
    notice = day_notice(told, Told())
    assert "  and 480 more" in notice.text
    assert len(notice.text) < 20_000


def test_a_failure_has_a_title_of_one_line(run):
    """However many tasks failed, whatever they are called."""
    failures = [Failure(f"train-{n}\nmodel", "no rows", 2) for n in range(40)]
    notice = failure_notice(failures, name="ctr", resume="make run")
    assert "\n" not in notice.title
    assert len(notice.title) <= MAX_TITLE
    assert notice.events == {"failure"}
    assert notice.text.endswith("Resume with: make run\n")
